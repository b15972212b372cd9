using System.Globalization;
using System.Security.Cryptography;
using Fude.Tensors;
using static Fude.Tokenizers.Wording;

namespace Fude.Generation;

/// <summary>Options with every default filled in and every value checked: what a decoding loop reads.</summary>
internal sealed record GenerationSettings
{
    private const int MaxBeams = 1024, MaxSequences = 4096;
    private const double MinTemperature = 1e-6;      // far below it, divided logits are infinite and no probabilities any more
    private const string MinTemperatureText = "0.000001";      // as people write it

    /// <summary>Length of the longest text, prompt included.</summary>
    public required int MaxLength { get; init; }
    public required int PromptLength { get; init; }
    public int MinLength { get; init; }
    public int MinNewTokens { get; init; }
    public bool DoSample { get; init; }
    public int NumBeams { get; init; }
    public int NumBeamGroups { get; init; }
    public float DiversityPenalty { get; init; }
    public int NumReturnSequences { get; init; }
    public double LengthPenalty { get; init; }
    public EarlyStopping EarlyStopping { get; init; }
    public float Temperature { get; init; }
    public int TopK { get; init; }
    public double TopP { get; init; }
    public float? MinP { get; init; }
    public float TypicalP { get; init; }
    public float EpsilonCutoff { get; init; }
    public float EtaCutoff { get; init; }
    public float RepetitionPenalty { get; init; }
    public float PresencePenalty { get; init; }
    public float FrequencyPenalty { get; init; }
    public int NoRepeatNgramSize { get; init; }
    public SequenceBias[] BadWords { get; init; } = [];
    public SequenceBias[] SequenceBias { get; init; } = [];
    public int? ForcedBosToken { get; init; }
    public int[] ForcedEosTokens { get; init; } = [];
    public int[] SuppressTokens { get; init; } = [];
    public int[] BeginSuppressTokens { get; init; } = [];
    public ExponentialDecay? ExponentialDecay { get; init; }
    public bool RemoveInvalidValues { get; init; }
    public bool RenormalizeLogits { get; init; }
    public int[] EosTokens { get; init; } = [];
    public int? PadToken { get; init; }
    public string[] StopStrings { get; init; } = [];
    public long Seed { get; init; }
    public long? TorchSeed { get; init; }
    public TorchRandomPath TorchRandom { get; init; }
    public bool LogProbabilities { get; init; }
    public int TopLogProbabilities { get; init; }

    public bool IsEos(int token) => EosTokens.AsSpan().Contains(token);

    /// <summary>Tokens the warpers leave in any case: a beam needs one that does not end the text.</summary>
    public int MinTokensToKeep => NumBeams > 1 ? EosTokens.Length + 1 > 2 ? EosTokens.Length + 1 : 2 : 1;

    /// <summary>Fills in transformers' defaults and checks every value.</summary>
    /// <param name="options">What call, generation_config.json and config.json set together.</param>
    /// <param name="promptLength">Tokens of the longest prompt of the call.</param>
    /// <param name="vocabulary">Rows of the model's logits.</param>
    /// <param name="context">Positions the model can read.</param>
    /// <exception cref="ArgumentException">A value is out of its range, or the text would not fit.</exception>
    public static GenerationSettings Resolve(GenerationOptions options, int promptLength, int vocabulary, int context)
    {
        if (promptLength == 0)
            throw new ArgumentException(Say(
                "The prompt has no tokens, and a model needs at least one to continue. Give a text, or begin with the BOS id.",
                "プロンプトにトークンがありません。続きを書くには 1 つ以上必要です。テキストを渡すか、BOS の ID から始めてください。"));
        if (promptLength > context)
            throw Bad(Say(
                $"The prompt has {Tokens(promptLength)}, but the model reads at most {context}. Shorten the prompt.",
                $"プロンプトが {promptLength} トークンあり、モデルが読める {context} トークンを超えています。プロンプトを短くしてください。"));

        int maxLength = MaxLengthOf(options, promptLength, context);
        int beams = Range(options.NumBeams ?? 1, 1, MaxBeams, "num_beams");
        int groups = Range(options.NumBeamGroups ?? 1, 1, beams, "num_beam_groups");
        int sequences = Range(options.NumReturnSequences ?? 1, 1, MaxSequences, "num_return_sequences");
        bool sample = options.DoSample ?? false;
        double diversity = Finite(options.DiversityPenalty ?? 0, "diversity_penalty");
        if (beams % groups != 0) throw Bad(Say(
            $"num_beams {beams} is not a multiple of num_beam_groups {groups}.",
            $"num_beams {beams} が num_beam_groups {groups} の倍数ではありません。"));
        if (groups > 1 && sample) throw Bad(Say(
            "num_beam_groups cannot be combined with do_sample: groups of beams search, they do not draw.",
            "num_beam_groups は do_sample と併用できません。ビームのグループは探索するもので、サンプリングはしません。"));
        if (groups > 1 && diversity <= 0) throw Bad(Say(
            "num_beam_groups needs a diversity_penalty above 0, or the groups would be the same.",
            "num_beam_groups を使うには diversity_penalty を 0 より大きくしてください。そうしないとグループがすべて同じになります。"));
        if (groups == 1 && diversity != 0) throw Bad(Say(
            "diversity_penalty needs num_beam_groups above 1.",
            "diversity_penalty を使うには num_beam_groups を 1 より大きくしてください。"));
        if (beams > 1 && sequences > beams) throw Bad(Say(
            $"num_return_sequences {sequences} is more than num_beams {beams}.",
            $"num_return_sequences {sequences} が num_beams {beams} を超えています。"));
        if (beams == 1 && !sample && sequences > 1)
            throw Bad(Say(
                $"num_return_sequences {sequences} needs do_sample or num_beams of at least as many: greedy search has one result.",
                $"num_return_sequences {sequences} には do_sample か、それ以上の num_beams が必要です。貪欲法の結果は 1 つだけです。"));
        if (options.Seed is not null && options.TorchSeed is not null) throw Bad(Say(
            "seed and torch_seed exclude each other.",
            "seed と torch_seed は同時に指定できません。"));
        if (options.TorchRandom is not null && options.TorchSeed is null) throw Bad(Say(
            "torch_random needs a torch_seed.",
            "torch_random には torch_seed も必要です。"));
        if (options.TorchRandom is { } path && !Enum.IsDefined(path)) throw Bad(Say(
            $"torch_random is {path}; expected Default or Mkl.",
            $"torch_random が {path} です（必要: Default または Mkl）。"));
        if (options.EarlyStopping is { } stopping && !Enum.IsDefined(stopping))
            throw Bad(Say($"early_stopping is {stopping}, which is no such value.", $"early_stopping に {stopping} という値はありません。"));

        int[] eos = Ids(options.EosTokenId, vocabulary, "eos_token_id");
        bool logProbabilities = options.LogProbabilities ?? false;
        int top = Range(options.TopLogProbabilities ?? 0, 0, Math.Min(vocabulary, 100), "top_log_probabilities");
        if (top > 0 && beams > 1)
            throw Bad(Say(
                "top_log_probabilities is for greedy search and sampling; beams report the chosen tokens only.",
                "top_log_probabilities は貪欲法とサンプリング用です。ビームサーチでは選ばれたトークンの対数確率だけを出せます。"));
        if (beams > 1 && (long)Math.Max(2, 1 + eos.Length) * (beams / groups) > (long)vocabulary * (beams / groups))
            throw Bad(Say(
                $"{eos.Length} eos ids leave no token to go on with in a vocabulary of {vocabulary}.",
                $"eos の ID が {eos.Length} 個あり、語彙（{vocabulary} 語）の中に続きを書けるトークンが残りません。"));
        return new()
        {
            PromptLength = promptLength,
            MaxLength = maxLength,
            // transformers sets min_length from min_new_tokens when both are given
            MinLength = options.MinNewTokens is null ? AtLeast(options.MinLength ?? 0, 0, "min_length") : 0,
            MinNewTokens = AtLeast(options.MinNewTokens ?? 0, 0, "min_new_tokens"),
            DoSample = sample,
            NumBeams = beams,
            NumBeamGroups = groups,
            DiversityPenalty = (float)diversity,
            NumReturnSequences = sequences,
            LengthPenalty = Finite(options.LengthPenalty ?? 1, "length_penalty"),
            EarlyStopping = options.EarlyStopping ?? EarlyStopping.WhenUnlikely,
            // Some published files write 0 for "not sampled"; then nothing divides by it.
            Temperature = options.Temperature is not double t || (t == 0 && !sample) ? 1
                : t >= MinTemperature && (float)t < float.PositiveInfinity ? (float)t
                : throw Bad(Say(
                    $"temperature is {Text(t)}; expected a number of at least {MinTemperatureText}. " +
                    "For the likeliest token always, turn do_sample off.",
                    $"temperature が {Text(t)} です（必要: {MinTemperatureText} 以上の数）。常に最も確率の高いトークンを選ぶには、do_sample を無効にしてください。")),
            TopK = AtLeast(options.TopK ?? 50, 0, "top_k"),
            TopP = Between(options.TopP ?? 1, 0, 1, "top_p"),
            MinP = options.MinP is double minP ? (float)Between(minP, 0, 1, "min_p") : null,
            TypicalP = options.TypicalP is not double typical ? 1
                : typical > 0 && typical <= 1 ? (float)typical
                : throw Bad(Say(
                    $"typical_p is {Text(typical)}; expected a number above 0 and at most 1.",
                    $"typical_p が {Text(typical)} です（必要: 0 より大きく 1 以下の数）。")),
            EpsilonCutoff = (float)Between(options.EpsilonCutoff ?? 0, 0, 1, "epsilon_cutoff"),
            EtaCutoff = (float)Between(options.EtaCutoff ?? 0, 0, 1, "eta_cutoff"),
            RepetitionPenalty = options.RepetitionPenalty is not double penalty ? 1
                : penalty > 0 && double.IsFinite(penalty) ? (float)penalty
                : throw Bad(Say(
                    $"repetition_penalty is {Text(penalty)}; expected a number above 0.",
                    $"repetition_penalty が {Text(penalty)} です（必要: 0 より大きい数）。")),
            PresencePenalty = (float)Finite(options.PresencePenalty ?? 0, "presence_penalty"),
            FrequencyPenalty = (float)Finite(options.FrequencyPenalty ?? 0, "frequency_penalty"),
            NoRepeatNgramSize = AtLeast(options.NoRepeatNgramSize ?? 0, 0, "no_repeat_ngram_size"),
            BadWords = BadWordsOf(options.BadWordsIds, eos, vocabulary),
            SequenceBias = BiasesOf(options.SequenceBias, vocabulary, "sequence_bias"),
            ForcedBosToken = options.ForcedBosTokenId is int bos ? Ids([bos], vocabulary, "forced_bos_token_id")[0] : null,
            ForcedEosTokens = Ids(options.ForcedEosTokenId, vocabulary, "forced_eos_token_id"),
            SuppressTokens = Ids(options.SuppressTokens, vocabulary, "suppress_tokens"),
            BeginSuppressTokens = Ids(options.BeginSuppressTokens, vocabulary, "begin_suppress_tokens"),
            ExponentialDecay = options.ExponentialDecayLengthPenalty is not { } decay ? null
                : eos.Length == 0 ? throw Bad(Say(
                    "exponential_decay_length_penalty needs an eos_token_id.",
                    "exponential_decay_length_penalty には eos_token_id が必要です。"))
                : new(AtLeast(decay.Start, 0, Say("exponential_decay_length_penalty's start", "exponential_decay_length_penalty の開始位置")),
                    Finite(decay.Factor, Say("exponential_decay_length_penalty's factor", "exponential_decay_length_penalty の係数"))),
            RemoveInvalidValues = options.RemoveInvalidValues ?? false,
            RenormalizeLogits = options.RenormalizeLogits ?? false,
            EosTokens = eos,
            PadToken = options.PadTokenId,
            StopStrings = [.. (options.StopStrings ?? []).Select(s => s.Length > 0 ? s : throw Bad(Say(
                "stop_strings holds an empty text.",
                "stop_strings に空の文字列があります。")))],
            Seed = options.Seed ?? BitConverter.ToInt64(RandomNumberGenerator.GetBytes(8)),
            TorchSeed = options.TorchSeed,
            TorchRandom = options.TorchRandom ?? TorchRandomPath.Default,
            LogProbabilities = logProbabilities || top > 0,
            TopLogProbabilities = top,
        };
    }

    private static int MaxLengthOf(GenerationOptions options, int promptLength, int context)
    {
        // The last new token is never read, so a text may be one token longer than the context.
        if (options.MaxNewTokens is int newTokens)
        {
            AtLeast(newTokens, 1, "max_new_tokens");
            return (long)promptLength + newTokens - 1 <= context
                ? promptLength + newTokens
                : throw Bad(Say(
                    $"The prompt's {Tokens(promptLength)} and max_new_tokens {newTokens} make {(long)promptLength + newTokens}, " +
                    $"but the model reads at most {context}, and the last new token it need not read. Shorten the prompt, or set max_new_tokens to {context - promptLength + 1} " +
                    "at most.",
                    $"プロンプトの {promptLength} トークンと max_new_tokens {newTokens} を合わせると {(long)promptLength + newTokens} になり、モデルが読める {context} を超えます（最後の 1 個は読まれません）。" +
                    $"プロンプトを短くするか、max_new_tokens を {context - promptLength + 1} 以下にしてください。"));
        }
        int maxLength = AtLeast(options.MaxLength ?? 20, 1, "max_length");
        if (promptLength >= maxLength)
            throw Bad(Say(
                $"The prompt has {Tokens(promptLength)} and max_length is {maxLength}" +
                $"{(options.MaxLength is null ? " (transformers' default)" : "")}, which leaves nothing to write. Set max_new_tokens.",
                $"プロンプトが {promptLength} トークンあり、max_length が {maxLength}" +
                $"{(options.MaxLength is null ? "（transformers の既定値）" : "")} のため、何も書けません。max_new_tokens を指定してください。"));
        return maxLength - 1 <= context
            ? maxLength
            : throw Bad(Say(
                $"max_length is {maxLength}, but the model reads at most {context} tokens. Set max_length to {context + 1} at " +
                "most, or max_new_tokens.",
                $"max_length が {maxLength} で、モデルが読める {context} トークンを超えています。max_length を {context + 1} 以下にするか、max_new_tokens を指定してください。"));
    }

    private static int[] Ids(IReadOnlyList<int>? ids, int vocabulary, string name)
    {
        int[] array = [.. ids ?? []];
        foreach (int id in array)
            if ((uint)id >= (uint)vocabulary)
                throw Bad(Say(
                    $"{name} holds id {id}, which is not in the model's vocabulary of {vocabulary}.",
                    $"{name} の ID {id} がモデルの語彙（{vocabulary} 語）にありません。"));
        return array;
    }

    /// <summary>A bad word is a bias of −∞; one that is an end token by itself is passed over, as transformers does.</summary>
    private static SequenceBias[] BadWordsOf(IReadOnlyList<IReadOnlyList<int>>? words, int[] eos, int vocabulary) =>
        BiasesOf(
            [
                .. (words ?? []).Where(word => word.Count != 1 || !eos.Contains(word[0]))
                    .Select(word => new SequenceBias(word, double.NegativeInfinity)),
            ],
            vocabulary,
            "bad_words_ids");

    private static SequenceBias[] BiasesOf(IReadOnlyList<SequenceBias>? biases, int vocabulary, string name)
    {
        Dictionary<string, SequenceBias> distinct = new(StringComparer.Ordinal);
        foreach (SequenceBias bias in biases ?? [])
        {
            if (bias.Ids.Count == 0) throw Bad(Say($"{name} holds an empty sequence.", $"{name} に空の列があります。"));
            if (double.IsNaN(bias.Bias)) throw Bad(Say($"{name} holds a bias that is not a number.", $"{name} に数でない値があります。"));
            int[] ids = Ids(bias.Ids, vocabulary, name);
            distinct[string.Join(',', ids)] = new(ids, bias.Bias);      // of two biases of one sequence the later holds
        }
        return [.. distinct.Values];
    }

    private static int Range(int value, int low, int high, string name) =>
        value >= low && value <= high ? value : throw Bad(Say(
            $"{name} is {value}; expected a whole number from {low} to {high}.",
            $"{name} が {value} です（必要: {low} から {high} までの整数）。"));

    private static int AtLeast(int value, int low, string name) =>
        value >= low ? value : throw Bad(Say(
            $"{name} is {value}; expected a whole number of at least {low}.",
            $"{name} が {value} です（必要: {low} 以上の整数）。"));

    private static double Between(double value, double low, double high, string name) =>
        value >= low && value <= high ? value : throw Bad(Say(
            $"{name} is {Text(value)}; expected a number from {Text(low)} to {Text(high)}.",
            $"{name} が {Text(value)} です（必要: {Text(low)} から {Text(high)} までの数）。"));

    private static double Finite(double value, string name) =>
        double.IsFinite(value) ? value : throw Bad(Say(
            $"{name} is {Text(value)}; expected a finite number.",
            $"{name} が {Text(value)} です（必要: 有限の数）。"));

    private static string Text(double value) => value.ToString("R", CultureInfo.InvariantCulture);

    private static string Tokens(int count) => count == 1 ? "1 token" : $"{count} tokens";

    private static ArgumentException Bad(string message) => new(message);
}
