using System.CommandLine;
using System.CommandLine.Parsing;
using System.Globalization;
using System.Numerics;
using System.Text.RegularExpressions;
using Fude.Generation;
using Fude.Tensors;
using static Fude.Cli.Language;

namespace Fude.Cli;

/// <summary>The options of generation, under transformers' names in kebab case. What is not given stays null, "not set".</summary>
internal sealed partial class GenerationArguments
{
    private readonly Option<int?> _maxNewTokens = Number<int>("--max-new-tokens", "-n", "New tokens at most.", "新しいトークン数の上限。");
    private readonly Option<int?> _maxLength = Number<int>("--max-length", null,
        "Tokens at most, the prompt's included.", "プロンプトを含むトークン数の上限。");
    private readonly Option<int?> _minNewTokens = Number<int>("--min-new-tokens", null,
        "New tokens before the text may end.", "これより少ない新しいトークン数では終わらない。");
    private readonly Option<int?> _minLength = Number<int>("--min-length", null,
        "Tokens, the prompt's included, before the text may end.", "プロンプトを含めてこれより少ないトークン数では終わらない。");
    private readonly Option<bool?> _doSample = Switch("--do-sample",
        "Draw tokens at random (true), or take the likeliest (false).", "トークンを確率で選ぶ（true）か、最も確からしいものを選ぶ（false）か。");
    private readonly Option<double?> _temperature = Number<double>("--temperature", null, "Divides the logits.", "ロジットを割る温度。");
    private readonly Option<int?> _topK = Number<int>("--top-k", null,
        "Only so many of the likeliest tokens; 0 for all, 50 when nothing sets it.", "上位 K 個だけから選ぶ（0 は全部、指定がなければ 50）。");
    private readonly Option<double?> _topP = Number<double>("--top-p", null,
        "Only the likeliest tokens of this probability together.", "合計確率がこの値になる上位だけから選ぶ。");
    private readonly Option<double?> _minP = Number<double>("--min-p", null,
        "Only tokens at least this times as likely as the likeliest.", "最有力の確率のこの割合以上のものだけ。");
    private readonly Option<double?> _typicalP = Number<double>("--typical-p", null, "Locally typical sampling.", "局所典型サンプリング。");
    private readonly Option<double?> _epsilonCutoff = Number<double>("--epsilon-cutoff", null,
        "Only tokens of at least this probability.", "この確率以上のものだけ。");
    private readonly Option<double?> _etaCutoff = Number<double>("--eta-cutoff", null, "Eta sampling.", "イータサンプリング。");
    private readonly Option<double?> _repetitionPenalty = Number<double>("--repetition-penalty", null,
        "Makes tokens that occurred less likely; 1 is none.", "既出トークンを出にくくする（1 で無効）。");
    private readonly Option<double?> _presencePenalty = Number<double>("--presence-penalty", null,
        "Subtracted from the logits of new tokens that occurred.", "出力済みトークンのロジットから引く値。");
    private readonly Option<double?> _frequencyPenalty = Number<double>("--frequency-penalty", null,
        "Subtracted once for each occurrence.", "出力回数ごとに引く値。");
    private readonly Option<int?> _noRepeatNgramSize = Number<int>("--no-repeat-ngram-size", null,
        "No run of so many tokens occurs twice.", "この長さの並びを繰り返さない。");
    private readonly Option<int?> _numBeams = Number<int>("--num-beams", null, "Beams of a beam search.", "ビームサーチのビーム数。");
    private readonly Option<int?> _numBeamGroups = Number<int>("--num-beam-groups", null,
        "Groups of beams that avoid one another.", "互いに避け合うビームの組の数。");
    private readonly Option<double?> _diversityPenalty = Number<double>("--diversity-penalty", null,
        "How strongly they avoid one another.", "避け合う強さ。");
    private readonly Option<int?> _numReturnSequences = Number<int>("--num-return-sequences", null, "Texts to write.", "書く文章の数。");
    private readonly Option<double?> _lengthPenalty = Number<double>("--length-penalty", null,
        "Beam scores are divided by length to this power.", "ビームの得点を長さのこの冪で割る。");
    private readonly Option<EarlyStopping?> _earlyStopping = Parsed<EarlyStopping?>("--early-stopping", "true|false|never",
        "When a beam search stops.", "ビームサーチを止める条件。", text => text.ToLowerInvariant() switch
        {
            "true" => EarlyStopping.WhenEnough,
            "false" => EarlyStopping.WhenUnlikely,
            "never" => EarlyStopping.Never,
            _ => throw new FormatException(),
        });
    private readonly Option<int[]?> _eosTokenId = Parsed<int[]?>("--eos-token-id", "1,2|none", "Ids that end the text.", "文章を終えるトークン ID。",
        text => text is "none" or "-1" ? [] : ParseIds(text));
    private readonly Option<int?> _bosTokenId = Number<int>("--bos-token-id", null,
        "The id that a prompt without tokens begins with.", "プロンプトにトークンがないとき、その代わりに置くトークン ID。");
    private readonly Option<int?> _padTokenId = Number<int>("--pad-token-id", null, "The id of padding.", "パディングのトークン ID。");
    private readonly Option<int[][]?> _badWordsIds = Parsed<int[][]?>("--bad-words-ids", "1,2;3",
        "Runs of ids that are never written.", "決して書かないトークン列。",
        text => [.. text.Split(';').Select(ParseIds)]);
    private readonly Option<SequenceBias[]?> _sequenceBias = Parsed<SequenceBias[]?>("--sequence-bias", "1,2=0.5;3=-1",
        "Added to the logit that completes a run of ids.", "トークン列を完成させるロジットに足す値。",
        text => [.. text.Split(';').Select(ParseBias)]);
    private readonly Option<int[]?> _suppressTokens = Ids("--suppress-tokens", "Ids that are never written.", "決して書かないトークン ID。");
    private readonly Option<int[]?> _beginSuppressTokens = Ids("--begin-suppress-tokens", "Ids that do not come first.", "最初に書かないトークン ID。");
    private readonly Option<int?> _forcedBosTokenId = Number<int>("--forced-bos-token-id", null,
        "The id after a prompt of one.", "プロンプトが 1 トークンのとき、次に書くトークン ID。");
    private readonly Option<int[]?> _forcedEosTokenId = Ids("--forced-eos-token-id",
        "The id that is last when the limit is reached.", "上限に達したとき最後に書くトークン ID。");
    private readonly Option<ExponentialDecay?> _exponentialDecay = Parsed<ExponentialDecay?>("--exponential-decay-length-penalty", "START,FACTOR",
        "Makes the end likelier from START new tokens on, FACTOR times more with each.", "START 個目から、1 個ごとに FACTOR 倍ずつ終わりやすくする。", ParseDecay);
    private readonly Option<bool?> _removeInvalidValues = Switch("--remove-invalid-values", "Take NaN as 0.", "NaN を 0 とみなす。");
    private readonly Option<bool?> _renormalizeLogits = Switch("--renormalize-logits",
        "Normalise the logits after processing.", "処理後のロジットを正規化する。");
    private readonly Option<string[]?> _stopStrings = new("--stop-strings", "--stop")
    {
        HelpName = "TEXT",
        Arity = ArgumentArity.OneOrMore,
        AllowMultipleArgumentsPerToken = false,
        Description = Say("End before this text (transformers would keep it); may be repeated.", "この文字列の前で終わる（transformers と違い、出力に含めない）。複数指定できる。"),
    };
    private readonly Option<long?> _seed = Number<long>("--seed", null, "Seed of the random numbers.", "乱数の種。");
    private readonly Option<long?> _torchSeed = Number<long>("--torch-seed", null,
        "Draw as torch does on a CPU after manual_seed(N).", "torch の CPU 乱数（manual_seed(N) 後）を一つずつ再現する。");
    private readonly Option<TorchRandomPath?> _torchRandom = Parsed<TorchRandomPath?>("--torch-random", "default|mkl",
        "Which of torch's two generators --torch-seed means; mkl is that of current x86-64 wheels.",
        "--torch-seed がどちらの乱数か。mkl は現在の x86-64 版 wheel のもの。", text => text.ToLowerInvariant() switch
        {
            "default" => TorchRandomPath.Default,
            "mkl" => TorchRandomPath.Mkl,
            _ => throw new FormatException(),
        });
    private readonly Option<bool?> _logProbabilities = Switch("--logprobs",
        "Report each token's log-probability (with --json).", "各トークンの対数確率も出す（--json と共に）。");
    private readonly Option<int?> _topLogProbabilities = Number<int>("--top-logprobs", null,
        "Report so many of the likeliest tokens beside each (with --json).", "各位置の上位候補をこの数だけ出す（--json と共に）。");

    private Dictionary<string, Option> _options = [];

    /// <summary>Adds the options to a command.</summary>
    /// <param name="command">Gets them.</param>
    /// <param name="json">Its option for JSON, or null for a command that writes one text and no JSON and has a prompt: log-probabilities, several
    /// texts and what stands for a prompt are not for it.</param>
    public void AddTo(Command command, Option<bool>? json)
    {
        Option[] all =
        [
            _maxNewTokens, _maxLength, _minNewTokens, _minLength, _doSample, _temperature, _topK, _topP, _minP, _typicalP, _epsilonCutoff,
            _etaCutoff, _repetitionPenalty, _presencePenalty, _frequencyPenalty, _noRepeatNgramSize, _numBeams, _numBeamGroups,
            _diversityPenalty, _numReturnSequences, _lengthPenalty, _earlyStopping, _eosTokenId, _bosTokenId, _padTokenId, _badWordsIds,
            _sequenceBias, _suppressTokens, _beginSuppressTokens, _forcedBosTokenId, _forcedEosTokenId, _exponentialDecay,
            _removeInvalidValues, _renormalizeLogits, _stopStrings, _seed, _torchSeed, _torchRandom, _logProbabilities, _topLogProbabilities,
        ];
        if (json is null) all = [.. all.Except([_numReturnSequences, _bosTokenId, _logProbabilities, _topLogProbabilities])];
        else
            command.Validators.Add(result =>
            {
                if (result.GetResult(json) is { Implicit: false }) return;
                foreach (Option option in (Option[])[_logProbabilities, _topLogProbabilities])
                    if (result.GetResult(option) is not null) result.AddError(Say($"{option.Name} is for --json.", $"{option.Name} は --json と共に使います。"));
            });
        foreach (Option option in all) command.Add(option);
        // As the library calls them, whose words are those of transformers.
        _options = all.ToDictionary(option => option.Name.TrimStart('-').Replace('-', '_'), StringComparer.Ordinal);
        _options["top_log_probabilities"] = _topLogProbabilities;
    }

    /// <summary>What the library finds wrong with the settings, by the names of the options: wrong usage where one of them was given.</summary>
    public Failure InTheirWords(ParseResult args, ArgumentException failure)
    {
        string message = Failure.MessageOf(failure)
            .Replace("turn do_sample off", "give --do-sample false", StringComparison.Ordinal)
            .Replace("do_sample を無効にして", "--do-sample false を指定して", StringComparison.Ordinal);
        // What nobody gave stands in generation_config.json, under the library's name; advice is for the command line.
        bool isGiven = SettingName().Matches(message).Any(name => _options.TryGetValue(name.Value, out Option? option) && args.GetResult(option) is not null);
        string told = SettingName().Replace(message, name =>
            _options.TryGetValue(name.Value, out Option? option) && (isGiven || option == _maxNewTokens) ? option.Name : name.Value);
        return isGiven ? Failure.OfUsage(told, told) : new Failure(told);
    }

    /// <summary>Says which options that were given do nothing: those of sampling where the likeliest token is taken always, those of beams where there are
    /// none.</summary>
    /// <param name="error">Where to.</param>
    /// <param name="args">The command line.</param>
    /// <param name="defaults">What the model's generation_config.json sets.</param>
    public void TellIdle(TextWriter error, ParseResult args, GenerationOptions defaults)
    {
        GenerationOptions set = Read(args).Over(defaults);
        if (set.DoSample != true) Tell([_temperature, _topK, _topP, _minP, _typicalP, _epsilonCutoff, _etaCutoff], "--do-sample");
        if (!(set.NumBeams > 1)) Tell([_lengthPenalty, _earlyStopping], "--num-beams N");

        void Tell(Option[] options, string needed)
        {
            string given = string.Join(Say(", ", "、"), options.Where(option => args.GetResult(option) is not null).Select(option => option.Name));
            if (given.Length > 0)
                error.WriteLine(Say($"note: without {needed} there is no effect of {given}", $"注意: {needed} がないため、{given} は効果がありません"));
        }
    }

    /// <summary>What the command line sets.</summary>
    public GenerationOptions Read(ParseResult args) => new()
    {
        MaxNewTokens = args.Given(_maxNewTokens),
        MaxLength = args.Given(_maxLength),
        MinNewTokens = args.Given(_minNewTokens),
        MinLength = args.Given(_minLength),
        DoSample = args.Given(_doSample),
        Temperature = args.Given(_temperature),
        TopK = args.Given(_topK),
        TopP = args.Given(_topP),
        MinP = args.Given(_minP),
        TypicalP = args.Given(_typicalP),
        EpsilonCutoff = args.Given(_epsilonCutoff),
        EtaCutoff = args.Given(_etaCutoff),
        RepetitionPenalty = args.Given(_repetitionPenalty),
        PresencePenalty = args.Given(_presencePenalty),
        FrequencyPenalty = args.Given(_frequencyPenalty),
        NoRepeatNgramSize = args.Given(_noRepeatNgramSize),
        NumBeams = args.Given(_numBeams),
        NumBeamGroups = args.Given(_numBeamGroups),
        DiversityPenalty = args.Given(_diversityPenalty),
        NumReturnSequences = args.Given(_numReturnSequences),
        LengthPenalty = args.Given(_lengthPenalty),
        EarlyStopping = args.Given(_earlyStopping),
        EosTokenId = args.Given(_eosTokenId),
        BosTokenId = args.Given(_bosTokenId),
        PadTokenId = args.Given(_padTokenId),
        BadWordsIds = args.Given(_badWordsIds),
        SequenceBias = args.Given(_sequenceBias),
        SuppressTokens = args.Given(_suppressTokens),
        BeginSuppressTokens = args.Given(_beginSuppressTokens),
        ForcedBosTokenId = args.Given(_forcedBosTokenId),
        ForcedEosTokenId = args.Given(_forcedEosTokenId),
        ExponentialDecayLengthPenalty = args.Given(_exponentialDecay),
        RemoveInvalidValues = args.Given(_removeInvalidValues),
        RenormalizeLogits = args.Given(_renormalizeLogits),
        StopStrings = args.Given(_stopStrings),
        Seed = args.Given(_seed),
        TorchSeed = args.Given(_torchSeed),
        TorchRandom = args.Given(_torchRandom),
        LogProbabilities = args.Given(_logProbabilities),
        TopLogProbabilities = args.Given(_topLogProbabilities),
    };

    [GeneratedRegex("(?<![A-Za-z0-9_-])[a-z]+(_[a-z]+)*(?![A-Za-z0-9_])", RegexOptions.CultureInvariant)]
    private static partial Regex SettingName();

    private static Option<T?> Number<T>(string name, string? alias, string english, string japanese)
        where T : struct, INumber<T> => NumberOption.Optional<T>(name, Say(english, japanese), range: null, alias is null ? [] : [alias]);

    private static Option<bool?> Switch(string name, string english, string japanese) =>
        new(name) { Description = Say(english, japanese), HelpName = "true|false", Arity = ArgumentArity.ZeroOrOne };

    private static Option<int[]?> Ids(string name, string english, string japanese) =>
        Parsed<int[]?>(name, "1,2", english, japanese, ParseIds);

    private static Option<T> Parsed<T>(string name, string form, string english, string japanese, Func<string, T> parse) => new(name)
    {
        HelpName = form,
        Description = Say(english, japanese),
        Arity = ArgumentArity.ExactlyOne,
        CustomParser = result =>
        {
            string text = result.Tokens[0].Value;
            try
            {
                return parse(text);
            }
            catch (Exception e) when (e is FormatException or OverflowException)
            {
                result.AddError(Say(
                    $"{name}: '{text}' is not of the form {form}.", $"{name}: '{text}' は {form} の形ではありません。"));
                return default!;
            }
        },
    };

    private static int[] ParseIds(string text) =>
        [.. text.Split(',').Select(part => int.Parse(part, NumberStyles.Integer, CultureInfo.InvariantCulture))];

    private static SequenceBias ParseBias(string text)
    {
        int equals = text.IndexOf('=', StringComparison.Ordinal);
        if (equals < 0) throw new FormatException();
        return new(ParseIds(text[..equals]), double.Parse(text[(equals + 1)..], NumberStyles.Float, CultureInfo.InvariantCulture));
    }

    private static ExponentialDecay? ParseDecay(string text) => text.Split(',') is [string start, string factor]
        ? new(int.Parse(start, CultureInfo.InvariantCulture), double.Parse(factor, NumberStyles.Float, CultureInfo.InvariantCulture))
        : throw new FormatException();
}
