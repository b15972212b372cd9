using System.CommandLine;

namespace Fude.Cli;

/// <summary>A kind of step: the command that does it, and which of its settings name what it reads and writes.</summary>
/// <param name="Name">The word of recipes.</param>
/// <param name="Create">Makes the command.</param>
/// <param name="Inputs">Settings that name files, folders, shards or models that are read.</param>
/// <param name="Outputs">Settings that name what is written.</param>
internal sealed record StepKind(string Name, Func<Terminal, Command> Create, string[] Inputs, string[] Outputs)
{
    /// <summary>Settings that the result does not depend on.</summary>
    public string[] Neutral { get; init; } = [];

    /// <summary>Settings with which a run that has begun may go on otherwise; null for a command that cannot go on.</summary>
    public string[]? MayChange { get; init; }

    /// <summary>What within an output is the result, where the rest may change: the model or adapter within a run's folder. None for all of it.</summary>
    public string[] Results { get; init; } = [];

    /// <summary>Endings of what lies beside a shard that is written.</summary>
    public string[] Beside { get; init; } = [];

    /// <summary>Inputs that may have a weight after them, as in FILE:0.5.</summary>
    public string[] Weighted { get; init; } = [];

    /// <summary>Settings that may be given as an object, which is written into a file for the command.</summary>
    public string[] Written { get; init; } = [];

    /// <summary>Every kind of step.</summary>
    public static IReadOnlyList<StepKind> All { get; } =
    [
        new("hold-out", terminal => Of(CorpusCommand.Create(terminal), "hold-out"), ["files"], ["train", "held-out"]),
        new("instructions", terminal => Of(CorpusCommand.Create(terminal), "instructions"), ["files", "dialogues"], ["out"]),
        new("tokenizer", terminal => Of(TokenizerCommand.Create(terminal), "train"), ["files"], ["out"]) { Neutral = ["threads"] },
        new("merge-tokenizers", terminal => Of(TokenizerCommand.Create(terminal), "merge"), ["tokenizers", "text"], ["out"]) { Neutral = ["threads"] },
        new("tokenize", terminal => Of(CorpusCommand.Create(terminal), "tokenize"), ["files", "tokenizer"], ["out"]) { Neutral = ["threads"], Beside = [".tokenizer"] },
        new("train", TrainCommand.Create, ["config", "from", "tokenizer", "data", "held-out"], ["out"])
        {
            Neutral = ["threads", "recompute", "checkpoint-every", "keep"],
            MayChange =
            [
                "steps", "tokens", "learning-rate", "schedule", "warmup-steps", "warmup-tokens", "decay-steps", "final-rate", "weight-decay", "beta1",
                "beta2", "epsilon", "clip", "z-loss", "label-smoothing", "dropout", "evaluate-every", "patience", "keep-best", "held-out-tokens", "save-format",
            ],
            Results = ["model"],
            Written = ["config"],
        },
        Tuning("tune", TuneCommand.Create) with
        {
            Inputs = ["model", "data", "held-out", "replay", "generation-config"],
            MayChange = ["evaluate-every", "patience", "keep-best", "save-format", "generation-config"],
            Written = ["generation-config"],
        },
        Tuning("dpo", DpoCommand.Create),
        new("quantize", ExportCommand.Create, ["model", "calibrate"], ["gguf"]),
        new("evaluate", EvaluateCommand.Create, ["model", "adapter", "files", "ngrams"], ["out", "save"]) { Neutral = ["threads", "json"] },
        new("follow", FollowCommand.Create, ["model", "adapter", "files"], ["out", "save"]) { Neutral = ["threads", "json"] },
    ];

    private static StepKind Tuning(string name, Func<Terminal, Command> create) => new(name, create, ["model", "data", "held-out"], ["out"])
    {
        Neutral = ["threads", "recompute", "checkpoint-every", "keep"],
        MayChange = ["evaluate-every", "patience", "keep-best", "save-format"],
        Results = ["model", "adapter"],
        Weighted = ["data"],
    };

    private static Command Of(Command group, string name) => group.Subcommands.Single(command => command.Name == name);
}
