using Fude.Tensors;

namespace Fude.Generation;

/// <summary>When a beam search may stop before its longest text is written.</summary>
public enum EarlyStopping
{
    /// <summary>When it is unlikely that a running beam beats the finished ones (transformers' <c>False</c>).</summary>
    WhenUnlikely,

    /// <summary>As soon as there are as many finished texts as beams (transformers' <c>True</c>).</summary>
    WhenEnough,

    /// <summary>Only when no running beam can beat the finished ones (transformers' <c>"never"</c>).</summary>
    Never,
}

/// <summary>From <paramref name="Start"/> new tokens on, the end becomes likelier by <paramref name="Factor"/> to the power of the tokens
/// since.</summary>
/// <param name="Start">New tokens before it begins.</param>
/// <param name="Factor">Growth a token.</param>
public readonly record struct ExponentialDecay(int Start, double Factor);

/// <summary>A number added to the logit of a sequence's last token wherever the tokens before it have just been written.</summary>
/// <param name="Ids">The sequence, at least one id.</param>
/// <param name="Bias">What is added.</param>
public sealed record SequenceBias(IReadOnlyList<int> Ids, double Bias);

/// <summary>
/// How text is continued, under the names of transformers' GenerationConfig. Null is "not set": then generation_config.json decides,
/// then config.json, then transformers' default.
/// </summary>
/// <remarks>Semantics are those of transformers 4.41, except where a member says otherwise.</remarks>
public sealed record GenerationOptions
{
    /// <summary>The options that a generation_config.json sets.</summary>
    /// <exception cref="IOException">The file cannot be read.</exception>
    /// <exception cref="InvalidDataException">It is no JSON object, or a value is not of its key's kind.</exception>
    /// <exception cref="NotSupportedException">A key asks for something fude does not do.</exception>
    public static GenerationOptions Load(string file) => GenerationConfigFile.Read(file);

    /// <summary>New tokens at most; wins over <see cref="MaxLength"/>.</summary>
    public int? MaxNewTokens { get; init; }

    /// <summary>Tokens at most, the prompt's included. Default 20.</summary>
    public int? MaxLength { get; init; }

    /// <summary>New tokens before an end may be chosen; wins over <see cref="MinLength"/>.</summary>
    public int? MinNewTokens { get; init; }

    /// <summary>Tokens, the prompt's included, before an end may be chosen. Default 0.</summary>
    public int? MinLength { get; init; }

    /// <summary>Draws tokens at random instead of taking the likeliest. Default false.</summary>
    public bool? DoSample { get; init; }

    /// <summary>Beams of a beam search. Default 1: none.</summary>
    public int? NumBeams { get; init; }

    /// <summary>Groups the beams are divided into, which avoid one another's tokens. Default 1.</summary>
    public int? NumBeamGroups { get; init; }

    /// <summary>What a beam group subtracts from a score for each use of the token by the groups before it. Default 0.</summary>
    public double? DiversityPenalty { get; init; }

    /// <summary>Texts to return. Default 1.</summary>
    public int? NumReturnSequences { get; init; }

    /// <summary>A beam's score is its log-probability divided by its new tokens to this power. Default 1.</summary>
    public double? LengthPenalty { get; init; }

    /// <summary>When a beam search stops. Default <see cref="EarlyStopping.WhenUnlikely"/>.</summary>
    public EarlyStopping? EarlyStopping { get; init; }

    /// <summary>Sampling: divides the logits. Above 0; default 1.</summary>
    public double? Temperature { get; init; }

    /// <summary>Sampling: only so many of the likeliest tokens, and those equal to the last of them. 0 is all; default 50.</summary>
    public int? TopK { get; init; }

    /// <summary>Sampling: only the likeliest tokens that together have this probability. Default 1: all.</summary>
    public double? TopP { get; init; }

    /// <summary>Sampling: only tokens at least this times as likely as the likeliest. Default: all.</summary>
    public double? MinP { get; init; }

    /// <summary>Sampling: only the tokens whose surprise is nearest the expected one, to this probability. Default 1: all.</summary>
    public double? TypicalP { get; init; }

    /// <summary>Sampling: only tokens of at least this probability. Default 0.</summary>
    public double? EpsilonCutoff { get; init; }

    /// <summary>Sampling: only tokens of at least min(η, √η·e^−entropy). Default 0.</summary>
    public double? EtaCutoff { get; init; }

    /// <summary>Divides positive logits of tokens that occur in prompt or text, multiplies negative ones. Default 1.</summary>
    public double? RepetitionPenalty { get; init; }

    /// <summary>Subtracted from the logits of tokens that occur among the new ones (OpenAI's presence_penalty). Default 0.</summary>
    public double? PresencePenalty { get; init; }

    /// <summary>Subtracted from a logit for each occurrence among the new tokens (OpenAI's frequency_penalty). Default 0.</summary>
    public double? FrequencyPenalty { get; init; }

    /// <summary>No run of so many tokens occurs twice, the prompt included. Default 0: they may.</summary>
    public int? NoRepeatNgramSize { get; init; }

    /// <summary>Sequences of ids that are never written.</summary>
    public IReadOnlyList<IReadOnlyList<int>>? BadWordsIds { get; init; }

    /// <summary>Biases of sequences of ids.</summary>
    public IReadOnlyList<SequenceBias>? SequenceBias { get; init; }

    /// <summary>The token after a prompt of a single one.</summary>
    public int? ForcedBosTokenId { get; init; }

    /// <summary>The token, or tokens, one of which is last when the longest text is reached.</summary>
    public IReadOnlyList<int>? ForcedEosTokenId { get; init; }

    /// <summary>Ids that are never written.</summary>
    public IReadOnlyList<int>? SuppressTokens { get; init; }

    /// <summary>Ids that are not the first new one.</summary>
    public IReadOnlyList<int>? BeginSuppressTokens { get; init; }

    /// <summary>Makes the end likelier as the text grows.</summary>
    public ExponentialDecay? ExponentialDecayLengthPenalty { get; init; }

    /// <summary>Takes NaN as 0 and infinities as the largest numbers, instead of failing on them. Default false.</summary>
    public bool? RemoveInvalidValues { get; init; }

    /// <summary>Turns processed logits into log-probabilities again. Default false.</summary>
    public bool? RenormalizeLogits { get; init; }

    /// <summary>The id that stands for a prompt where there is none; callers put it there.</summary>
    public int? BosTokenId { get; init; }

    /// <summary>Ids that end a text. An empty list: nothing ends it but its length.</summary>
    public IReadOnlyList<int>? EosTokenId { get; init; }

    /// <summary>The id of padding; only beam groups that have ended ahead of others show it.</summary>
    public int? PadTokenId { get; init; }

    /// <summary>A text ends before the first of these that the new tokens write; it is cut out, where transformers would keep it, and the ids keep it.
    /// Special tokens do not show in a text; a stop string may name them all the same.</summary>
    public IReadOnlyList<string>? StopStrings { get; init; }

    /// <summary>The seed of fude's own random numbers; text number i of a call has its own stream. Default: a new one each call.</summary>
    public long? Seed { get; init; }

    /// <summary>Draws as torch does on a CPU after torch.manual_seed of this number.</summary>
    public long? TorchSeed { get; init; }

    /// <summary>Which of torch's two algorithms <see cref="TorchSeed"/> means.</summary>
    public TorchRandomPath? TorchRandom { get; init; }

    /// <summary>Reports each token's log-probability under the model itself, before penalties and temperature. Default false.</summary>
    public bool? LogProbabilities { get; init; }

    /// <summary>Reports so many of the likeliest tokens beside each token. Default 0.</summary>
    public int? TopLogProbabilities { get; init; }

    /// <summary>These options, and where they are silent those of <paramref name="fallback"/>.</summary>
    public GenerationOptions Over(GenerationOptions fallback)
    {
        ArgumentNullException.ThrowIfNull(fallback);
        // A length given in new tokens is not undone by one given in all tokens further down, and the other way round.
        bool newLength = MaxNewTokens is not null || MaxLength is not null;
        bool newMinimum = MinNewTokens is not null || MinLength is not null;
        bool newSeed = Seed is not null || TorchSeed is not null;
        return new()
        {
            MaxNewTokens = newLength ? MaxNewTokens : fallback.MaxNewTokens,
            MaxLength = newLength ? MaxLength : fallback.MaxLength,
            MinNewTokens = newMinimum ? MinNewTokens : fallback.MinNewTokens,
            MinLength = newMinimum ? MinLength : fallback.MinLength,
            DoSample = DoSample ?? fallback.DoSample,
            NumBeams = NumBeams ?? fallback.NumBeams,
            NumBeamGroups = NumBeamGroups ?? fallback.NumBeamGroups,
            DiversityPenalty = DiversityPenalty ?? fallback.DiversityPenalty,
            NumReturnSequences = NumReturnSequences ?? fallback.NumReturnSequences,
            LengthPenalty = LengthPenalty ?? fallback.LengthPenalty,
            EarlyStopping = EarlyStopping ?? fallback.EarlyStopping,
            Temperature = Temperature ?? fallback.Temperature,
            TopK = TopK ?? fallback.TopK,
            TopP = TopP ?? fallback.TopP,
            MinP = MinP ?? fallback.MinP,
            TypicalP = TypicalP ?? fallback.TypicalP,
            EpsilonCutoff = EpsilonCutoff ?? fallback.EpsilonCutoff,
            EtaCutoff = EtaCutoff ?? fallback.EtaCutoff,
            RepetitionPenalty = RepetitionPenalty ?? fallback.RepetitionPenalty,
            PresencePenalty = PresencePenalty ?? fallback.PresencePenalty,
            FrequencyPenalty = FrequencyPenalty ?? fallback.FrequencyPenalty,
            NoRepeatNgramSize = NoRepeatNgramSize ?? fallback.NoRepeatNgramSize,
            BadWordsIds = BadWordsIds ?? fallback.BadWordsIds,
            SequenceBias = SequenceBias ?? fallback.SequenceBias,
            ForcedBosTokenId = ForcedBosTokenId ?? fallback.ForcedBosTokenId,
            ForcedEosTokenId = ForcedEosTokenId ?? fallback.ForcedEosTokenId,
            SuppressTokens = SuppressTokens ?? fallback.SuppressTokens,
            BeginSuppressTokens = BeginSuppressTokens ?? fallback.BeginSuppressTokens,
            ExponentialDecayLengthPenalty = ExponentialDecayLengthPenalty ?? fallback.ExponentialDecayLengthPenalty,
            RemoveInvalidValues = RemoveInvalidValues ?? fallback.RemoveInvalidValues,
            RenormalizeLogits = RenormalizeLogits ?? fallback.RenormalizeLogits,
            BosTokenId = BosTokenId ?? fallback.BosTokenId,
            EosTokenId = EosTokenId ?? fallback.EosTokenId,
            PadTokenId = PadTokenId ?? fallback.PadTokenId,
            StopStrings = StopStrings ?? fallback.StopStrings,
            Seed = newSeed ? Seed : fallback.Seed,
            TorchSeed = newSeed ? TorchSeed : fallback.TorchSeed,
            TorchRandom = TorchRandom ?? fallback.TorchRandom,
            LogProbabilities = LogProbabilities ?? fallback.LogProbabilities,
            TopLogProbabilities = TopLogProbabilities ?? fallback.TopLogProbabilities,
        };
    }
}
