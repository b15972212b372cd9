using Fude.Models;
using Fude.Tensors;
using static Fude.Tokenizers.Wording;

namespace Fude.Generation;

/// <summary>What one call asks the engine for.</summary>
/// <param name="Prompts">Token ids of each prompt, at least one each.</param>
/// <param name="Options">Complete: what call and configuration files set together.</param>
internal sealed record DecodingRequest(int[][] Prompts, GenerationOptions Options)
{
    /// <summary>Ids from here on are rows of the embedding without a token and are never chosen; null: all may be.</summary>
    public int? Choosable { get; init; }

    /// <summary>Told of each token as it is chosen. Not for beams.</summary>
    public TokenObserver? OnToken { get; init; }

    /// <summary>Whether a beam's new tokens already hold a stop string.</summary>
    public Func<int, ReadOnlyMemory<int>, bool>? BeamHasStopped { get; init; }

    /// <summary>
    /// Shows prompts of different lengths to the processors as transformers' padded batches do: filled up on the left with pad_token_id, so
    /// that pads count as seen tokens and as length. The model itself never sees a pad.
    /// </summary>
    public bool CountLeftPadding { get; init; }
}

/// <summary>Is told of a token as it is chosen.</summary>
/// <param name="row">Which text of the request.</param>
/// <param name="prompt">Which prompt it continues.</param>
/// <param name="token">The token.</param>
/// <returns>Whether the text ends with it.</returns>
internal delegate bool TokenObserver(int row, int prompt, int token);

/// <summary>Working memory that all requests of an engine share: they choose their tokens one after the other.</summary>
internal sealed class DecodingScratch(int vocabulary)
{
    public float[] Logits { get; } = new float[vocabulary];
    public LogitsProcessors Processors { get; } = new(vocabulary);
    public Candidates Candidates { get; } = new(vocabulary);
    public Selection Selection { get; } = new(vocabulary);
}

/// <summary>One request on its way: which tokens it wants to run next, and what it makes of their logits.</summary>
/// <remarks>
/// Prompts are read in chunks without asking for logits; the last token of each is held back until all can be run in one step, from which
/// on the texts of a request go in step. A request's tokens never depend on what else is in the batch, because its rows of logits do not.
/// Planning changes nothing: what has been read is what the caches hold, so a step that failed may be planned again.
/// </remarks>
internal abstract class Decoding : IDisposable
{
    private readonly int[] _known;     // tokens of each prompt that its cache held from the beginning

    protected Decoding(DecodingRequest request, LanguageModel model, IOps ops, KeptText? kept)
    {
        ModelConfig config = model.Config;
        Request = request;
        Vocabulary = config.Vocabulary;
        Choosable = Math.Min(request.Choosable ?? config.Vocabulary, config.Vocabulary);
        int longest = request.Prompts.Max(prompt => prompt.Length);
        Settings = Resolve(request, longest, config);
        Texts = [.. request.Prompts.Select((prompt, i) =>
        {
            foreach (int id in prompt)
                if ((uint)id >= (uint)config.Vocabulary)
                    throw new ArgumentException(Say(
                        $"The prompt holds id {id}, which is not in the model's vocabulary of {config.Vocabulary}.",
                        $"プロンプトの ID {id} がモデルの語彙（{config.Vocabulary} 語）にありません。"));
            int padding = request.CountLeftPadding ? longest - prompt.Length : 0;
            if (padding > 0 && (Settings.PadToken is not int pad || (uint)pad >= (uint)config.Vocabulary))
                throw new ArgumentException(Say(
                    "Prompts of different lengths are to be filled up, but there is no pad_token_id in the vocabulary.",
                    "長さの異なるプロンプトを揃えるための pad_token_id が語彙にありません。"));
            GenerationSettings own = prompt.Length == longest || padding > 0 ? Settings
                : Resolve(request, prompt.Length, config) with { Seed = Settings.Seed };
            return new Prompt([.. Enumerable.Repeat(Settings.PadToken ?? 0, padding), .. prompt], padding, own);
        })];
        Caches = new KvCache?[request.Prompts.Length];
        for (int i = 0; i < Caches.Length; i++)
        {
            int capacity = Texts[i].Settings.MaxLength - Texts[i].Padding;
            Caches[i] = kept is null ? model.CreateCache(ops, capacity) : kept.Begin(model, ops, request.Prompts[i], capacity);
        }
        _known = [.. Caches.Select(cache => cache!.Length)];
        int texts = Math.Max(Settings.NumBeams, Settings.NumReturnSequences);
        CacheBytes = model.CacheBytes(Texts.Sum(text => (long)text.Settings.MaxLength) * texts);
    }

    /// <summary>A prompt as the processors see it, and the settings for its length.</summary>
    protected readonly record struct Prompt(int[] History, int Padding, GenerationSettings Settings);

    protected DecodingRequest Request { get; }

    /// <summary>The settings of the longest prompt: all but the lengths hold for every prompt.</summary>
    protected GenerationSettings Settings { get; }

    protected Prompt[] Texts { get; }

    /// <summary>Of each prompt; null once handed on.</summary>
    protected KvCache?[] Caches { get; }

    protected int Vocabulary { get; }

    /// <summary>Ids below this may be chosen.</summary>
    protected int Choosable { get; }

    /// <summary>Whether every prompt has been read.</summary>
    private bool IsPrefilled
    {
        get
        {
            for (int i = 0; i < Caches.Length; i++)
                if (LeftOf(i) > 0) return false;
            return true;
        }
    }

    /// <summary>Whether every text has ended.</summary>
    public abstract bool IsDone { get; }

    /// <summary>The texts, best first within a prompt, once done.</summary>
    public abstract IReadOnlyList<DecodedSequence> Result { get; }

    /// <summary>The request as a machine of its kind.</summary>
    /// <param name="request">The request.</param>
    /// <param name="model">The model.</param>
    /// <param name="ops">Its device.</param>
    /// <param name="kept">A text that was written before; null to read every prompt whole.</param>
    /// <exception cref="ArgumentException">A value of the options is out of its range, or the text would not fit the model.</exception>
    public static Decoding Start(DecodingRequest request, LanguageModel model, IOps ops, KeptText? kept = null)
    {
        if (request.Prompts.Length == 0) throw new ArgumentException(Say("There is no prompt to continue.", "続きを書くプロンプトがありません。"));
        if (model.Config.KeysDependOnLength) kept = null;       // what one text leaves behind is of no use to another
        return (request.Options.NumBeams ?? 1) > 1 ? new BeamDecoding(request, model, ops, kept) : new SampleDecoding(request, model, ops, kept);
    }

    /// <summary>About how many bytes of keys and values it takes at most.</summary>
    public long CacheBytes { get; }

    /// <summary>Tokens of a prompt that were known from an earlier text.</summary>
    public int KnownOf(int prompt) => _known[prompt];

    /// <summary>Adds the tokens to run in this step.</summary>
    /// <param name="batch">Where to.</param>
    /// <param name="prefill">Prompt tokens that may be added at most.</param>
    /// <returns>Prompt tokens that were.</returns>
    public int Plan(BatchBuilder batch, int prefill)
    {
        if (!IsPrefilled) return PlanPrompts(batch, prefill);
        PlanStep(batch);
        return 0;
    }

    /// <summary>Takes in the logits of the rows it asked for.</summary>
    /// <param name="logits">[rows asked for, vocabulary].</param>
    /// <param name="scratch">Working memory.</param>
    public abstract void Accept(ReadOnlySpan<float> logits, DecodingScratch scratch);

    protected abstract void PlanStep(BatchBuilder batch);

    private int PlanPrompts(BatchBuilder batch, int prefill)
    {
        int before = batch.Count;
        long rest = 0;
        bool onlyLastLeft = true;
        for (int i = 0; i < Caches.Length; i++)
        {
            rest += LeftOf(i);
            onlyLastLeft &= LeftOf(i) == 1;
        }
        bool isLast = rest <= prefill || onlyLastLeft;
        for (int i = 0; i < Caches.Length; i++)
        {
            int[] prompt = Request.Prompts[i];
            int left = LeftOf(i), count = isLast ? left : Math.Min(prefill, left - 1);
            if (count == 0) continue;
            batch.Add(prompt.AsSpan(prompt.Length - left, count), Caches[i]!, extent: prompt.Length, wantsLogits: isLast);
            prefill = Math.Max(0, prefill - count);
        }
        return batch.Count - before;
    }

    private int LeftOf(int prompt) => Caches[prompt] is { } cache ? Request.Prompts[prompt].Length - cache.Length : 0;

    protected static void RequireValid(ReadOnlySpan<float> logits, GenerationSettings settings)
    {
        if (!settings.RemoveInvalidValues && VectorMath.HasInvalid(logits))
            throw new InvalidDataException(Say(
                "The model's logits hold NaN or infinity: its weights are damaged, or not of the kind config.json says. " +
                "(remove_invalid_values goes on regardless.)",
                "モデルのロジットに NaN か無限大があります。重みが破損しているか、config.json の示す種類のものではありません（remove_invalid_values を使えばそのまま続けます）。"));
    }

    private static GenerationSettings Resolve(DecodingRequest request, int promptLength, ModelConfig config) =>
        GenerationSettings.Resolve(request.Options, promptLength, config.Vocabulary, config.Context);

    /// <summary>Gives the caches back.</summary>
    public virtual void Dispose()
    {
        foreach (ref KvCache? cache in Caches.AsSpan())
        {
            cache?.Dispose();
            cache = null;
        }
    }
}
