using System.Globalization;
using Fude.Models;
using static Fude.Tokenizers.Wording;

namespace Fude.Training;

/// <summary>What became of a file of examples.</summary>
/// <param name="File">The file.</param>
/// <param name="Weight">How often an epoch takes each example.</param>
/// <param name="Examples">Examples to learn from.</param>
/// <param name="HeldOut">Examples that are only evaluated on.</param>
/// <param name="Tokens">Tokens of those learnt from.</param>
/// <param name="Trained">How many of these are expected of the model.</param>
/// <param name="Longest">Tokens of the longest.</param>
public sealed record SourceSummary(string File, double Weight, int Examples, int HeldOut, long Tokens, long Trained, int Longest);

/// <summary>The examples of a tuning: read, written in the model's prompt format, tokenized and masked. No weights are needed for that.</summary>
public sealed class TuningData
{
    private readonly TuningSettings _settings;
    private readonly List<List<TrainingExample>> _examples = [];
    private readonly List<TrainingExample> _heldOut = [];
    private readonly List<List<(PreferencePair Pair, string Place)>> _pairs = [];
    private readonly List<(PreferencePair Pair, string Place)> _heldOutPairs = [];
    private readonly List<SourceSummary> _sources = [];

    /// <summary>Reads all of it.</summary>
    /// <param name="settings">What is read and how.</param>
    /// <param name="progress">Told how many examples there are; or null.</param>
    /// <param name="stop">Ends the reading.</param>
    /// <exception cref="InvalidDataException">A file is damaged, more records are bad than may be, or there is nothing to learn.</exception>
    /// <exception cref="NotSupportedException">The prompt format is not known.</exception>
    public TuningData(TuningSettings settings, IProgress<int>? progress = null, CancellationToken stop = default)
    {
        ArgumentNullException.ThrowIfNull(settings);
        if (settings.Data.Count == 0) throw new ArgumentException(Say("There is no file of examples.", "学習例のファイルが指定されていません。"), nameof(settings));
        settings.Check();
        _settings = settings;
        Folder = ModelFolder.Open(settings.Model);
        if (!Folder.HasTokenizer) throw new InvalidDataException(Say(
            $"{Folder.Path} has no tokenizer: examples are texts. Put tokenizer.json or tokenizer.model beside the weights.",
            $"{Folder.Path} に、学習例のテキストを読むためのトークナイザーがありません。重みの隣に tokenizer.json か tokenizer.model を置いてください。"));
        Encoder = Open(settings, Folder);
        Tally = new DataTally(settings.SkipBad);
        foreach (DataSource source in settings.Data)
        {
            if (settings.Preference is null) Read(source, progress, stop);
            else ReadPairs(source, progress, stop);
        }
        foreach (string file in settings.HeldOut)
        {
            if (settings.Preference is null)
                foreach (Dialogue dialogue in settings.Reader.Read(file, Tally))
                {
                    stop.ThrowIfCancellationRequested();
                    _heldOut.AddRange(Checked(Encoder.Encode(dialogue, Tally)));
                }
            else
                foreach ((PreferencePair pair, string place, _) in PairsOf(file, stop)) _heldOutPairs.Add((pair, place));
        }
        if (_sources.Sum(source => source.Examples) == 0)
        {
            string files = string.Join(", ", settings.Data.Select(source => source.File)), why = WhyNothing();
            throw new InvalidDataException(Say(
                $"{files}: there is nothing to learn in it{(why.Length > 0 ? $": {why}" : "")}.",
                $"{files}: 学習できるものがありません{(why.Length > 0 ? $"（{why}）" : "")}。"));
        }
        if (_heldOut.Count + _heldOutPairs.Count == 0)
        {
            if (settings.HeldOut.Count > 0)
                throw new InvalidDataException(Say(
                    $"{string.Join(", ", settings.HeldOut)}: there is nothing in it to evaluate on.", $"{string.Join(", ", settings.HeldOut)}: 評価できるものがありません。"));
            if (settings.Patience > 0 || settings.KeepsBest)
                throw new InvalidDataException(Say(
                    $"Nothing is held out: a share of {settings.HeldOutShare} of so few records is none. Give a larger --held-out-share, or --held-out.",
                    $"検証用に除かれたものがありません。レコードが少なく、割合 {settings.HeldOutShare} では 0 件です。--held-out-share を大きくするか、--held-out を指定してください。"));
        }
        HeldOutAlsoLearnt = HeldOutMark.CountAlsoLearnt(
            [.. _heldOut.Select(example => HeldOutMark.Of(example)), .. _heldOutPairs.Select(one => HeldOutMark.Of(one.Pair))],
            _examples.SelectMany(source => source).Select(example => HeldOutMark.Of(example))
                .Concat(_pairs.SelectMany(source => source).Select(one => HeldOutMark.Of(one.Pair))));
        if (settings.Replay.Count > 0) Replay();
        Mixture = new Mixture([.. _sources.Select(source => (source.Examples, source.Weight))], settings.Seed);
    }

    /// <summary>The model's folder.</summary>
    public ModelFolder Folder { get; }

    /// <summary>Writes and masks.</summary>
    public ExampleEncoder Encoder { get; }

    /// <summary>What was left out, and why.</summary>
    public DataTally Tally { get; }

    /// <summary>What each file gave.</summary>
    public IReadOnlyList<SourceSummary> Sources => _sources;

    /// <summary>The examples of each source; empty for preferences.</summary>
    public IReadOnlyList<IReadOnlyList<TrainingExample>> Examples => _examples;

    /// <summary>The preferences of each source, with their places; empty for instructions.</summary>
    public IReadOnlyList<IReadOnlyList<(PreferencePair Pair, string Place)>> Pairs => _pairs;

    /// <summary>Examples that are only evaluated on.</summary>
    public IReadOnlyList<TrainingExample> HeldOut => _heldOut;

    /// <summary>Preferences that are only evaluated on.</summary>
    public IReadOnlyList<(PreferencePair Pair, string Place)> HeldOutPairs => _heldOutPairs;

    /// <summary>How many of the examples or preferences that are only evaluated on are learnt from too, token by token the same.</summary>
    public int HeldOutAlsoLearnt { get; }

    /// <summary>The order in which they are learnt.</summary>
    public Mixture Mixture { get; }

    /// <summary>The encoder that settings ask for.</summary>
    public static ExampleEncoder Open(TuningSettings settings, ModelFolder folder)
    {
        ArgumentNullException.ThrowIfNull(settings);
        ArgumentNullException.ThrowIfNull(folder);
        PromptFormat format;
        if (settings.Format is { } name) format = PromptFormat.Named(name, folder);
        else
        {
            PromptFormatGuess guess = PromptFormat.Guess(folder);
            if (!guess.IsSure)
                throw new ArgumentException(Say(
                    $"{guess.Reason} Say which prompt format the model is to learn (--format): " +
                    $"{string.Join(", ", PromptFormat.All)}, or {PromptFormat.TemplateName} for the folder's own.",
                    $"{guess.Reason}学習させるプロンプトの書式を --format で指定してください: " +
                    $"{string.Join("、", PromptFormat.All)}、{PromptFormat.TemplateName}（フォルダーのもの）。"), nameof(settings));
            format = guess.Format;
        }
        if (settings.System is { } system) format = format.WithSystem(system);
        int? end = folder.Config.EosTokens is [var first, ..] ? first : folder.Tokenizer.EndId;
        if (end is null)
            throw new InvalidDataException(Say(
                $"{folder.ConfigPath} has no eos_token_id, nor does the tokenizer name a token that ends a text: the model would never learn to stop. Add eos_token_id.",
                $"{folder.ConfigPath} に eos_token_id がなく、トークナイザーにもテキストを終えるトークンがありません。このままではモデルが止まることを学習できません。eos_token_id を加えてください。"));
        if (settings.Context > folder.Config.Context)
            throw new ArgumentException(Say(
                $"Examples of {settings.Context} tokens (--context) are asked for, but the model's context is {folder.Config.Context}.",
                $"例の最大トークン数（--context）が {settings.Context} ですが、モデルの文脈長は {folder.Config.Context} です。"), nameof(settings));
        return new ExampleEncoder(format, folder.Tokenizer, end, settings.Context ?? folder.Config.Context)
        {
            TooLong = settings.TooLong,
            LastAnswerOnly = settings.LastAnswerOnly,
        };
    }

    // What became of the records, where there were any.
    private string WhyNothing()
    {
        int heldOut = _sources.Sum(source => source.HeldOut);
        return string.Join(Say("; ", "、"), [
            .. Tally.BadByReason.Concat(Tally.Notes).Select(one => Say($"{one.Count:N0} ({one.Reason}): {one.Places}", $"{one.Count:N0} 件（{one.Reason}）: {one.Places}")),
            .. heldOut > 0 ? [Say($"{heldOut:N0} held out for evaluation", $"評価用に {heldOut:N0} 件")] : (ReadOnlySpan<string>)[],
        ]);
    }

    private void Read(DataSource source, IProgress<int>? progress, CancellationToken stop)
    {
        List<TrainingExample> examples = [];
        int heldOut = _heldOut.Count;
        foreach (Dialogue dialogue in _settings.Reader.Read(source.File, Tally))
        {
            stop.ThrowIfCancellationRequested();
            (dialogue.IsHeldOut(_settings.HeldOutShare) ? _heldOut : examples).AddRange(Checked(Encoder.Encode(dialogue, Tally)));
            progress?.Report(_examples.Sum(list => list.Count) + examples.Count);
        }
        _examples.Add(examples);
        _sources.Add(new SourceSummary(source.File, source.Weight, examples.Count, _heldOut.Count - heldOut,
            examples.Sum(example => (long)example.Length), examples.Sum(example => (long)example.Trained), examples.Select(example => example.Length).DefaultIfEmpty().Max()));
    }

    /// <summary>Tokens of a replayed piece at most: as many as the model reads, however short conversations are cut, so that what is far into a text is
    /// kept up too; but no more than a micro-batch holds anyway.</summary>
    internal int ReplayLength => Math.Min(Folder.Config.Context, Math.Max(_settings.Context ?? 0, _settings.TokensPerBatch));

    // Each epoch takes a part of its own.
    private void Replay()
    {
        if (_settings.Preference is not null) throw new ArgumentException(Say(
            "Texts are replayed among instructions, not among preferences.",
            "テキストを混ぜられるのは指示の学習だけで、選好の学習には混ぜられません。"));
        double epochs = Math.Max(1, Math.Ceiling(_settings.Epochs)), share = _settings.ReplayShare;
        long tokens = (long)Math.Ceiling(epochs * share / (1 - share) * _sources.Sum(source => source.Weight * source.Tokens));
        List<TrainingExample> examples = ReplayedText.Take(
            _settings.Replay, tokens, ReplayLength, Folder.Config.Vocabulary, Folder.Tokenizer, _settings.Model, _settings.Seed);
        if (examples.Count == 0) throw new InvalidDataException(Say(
            $"{string.Join(", ", _settings.Replay)}: there is nothing to learn in it.",
            $"{string.Join(", ", _settings.Replay)}: 学習できるものがありません。"));
        _examples.Add(examples);
        _sources.Add(new SourceSummary(string.Join(", ", _settings.Replay), 1 / epochs, examples.Count, 0,
            examples.Sum(example => (long)example.Length), examples.Sum(example => (long)example.Trained), examples.Max(example => example.Length)));
    }

    private void ReadPairs(DataSource source, IProgress<int>? progress, CancellationToken stop)
    {
        List<(PreferencePair Pair, string Place)> pairs = [];
        int heldOut = _heldOutPairs.Count;
        foreach ((PreferencePair pair, string place, bool isHeldOut) in PairsOf(source.File, stop))
        {
            (isHeldOut ? _heldOutPairs : pairs).Add((pair, place));
            progress?.Report(_pairs.Sum(list => list.Count) + pairs.Count);
        }
        _pairs.Add(pairs);
        _sources.Add(new SourceSummary(source.File, source.Weight, pairs.Count, _heldOutPairs.Count - heldOut,
            pairs.Sum(one => (2L * one.Pair.Prompt.Length) + one.Pair.Chosen.Length + one.Pair.Rejected.Length),
            pairs.Sum(one => (long)one.Pair.Chosen.Length + one.Pair.Rejected.Length),
            pairs.Select(one => one.Pair.Prompt.Length + Math.Max(one.Pair.Chosen.Length, one.Pair.Rejected.Length)).DefaultIfEmpty().Max()));
    }

    private IEnumerable<(PreferencePair Pair, string Place, bool IsHeldOut)> PairsOf(string file, CancellationToken stop)
    {
        foreach (PreferenceDialogue preference in PreferenceReader.Read(file, Tally))
        {
            stop.ThrowIfCancellationRequested();
            if (Encoder.Encode(preference, Tally) is not { } pair) continue;
            foreach (int[] tokens in (ReadOnlySpan<int[]>)[pair.Prompt, pair.Chosen, pair.Rejected]) CheckIds(tokens, preference.Chosen);
            yield return (pair, string.Create(CultureInfo.InvariantCulture, $"{Path.GetFileName(file)}:{preference.Chosen.Line}"),
                preference.Chosen.IsHeldOut(_settings.HeldOutShare));
        }
    }

    private IEnumerable<TrainingExample> Checked(IEnumerable<TrainingExample> examples)
    {
        foreach (TrainingExample example in examples)
        {
            CheckIds(example.Tokens, null, example.Place);
            yield return example;
        }
    }

    private void CheckIds(ReadOnlySpan<int> tokens, Dialogue? dialogue, string place = "")
    {
        foreach (int token in tokens)
            if ((uint)token >= (uint)Folder.Config.Vocabulary)
                throw new InvalidDataException(Say(
                    $"{(dialogue is null ? place : $"{dialogue.File}:{dialogue.Line}")}: the tokenizer gives token {token}, but the model's vocabulary has " +
                    $"{Folder.Config.Vocabulary} entries. {Folder.Path} holds a model and a tokenizer that do not belong together.",
                    $"{(dialogue is null ? place : $"{dialogue.File}:{dialogue.Line}")}: トークナイザーがトークン {token} を出しますが、モデルの語彙は" +
                    $" {Folder.Config.Vocabulary} 語です。{Folder.Path} のモデルとトークナイザーが対応していません。"));
    }
}
