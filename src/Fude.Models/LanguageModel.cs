using Fude.Tensors;
using static Fude.Tensors.Wording;

namespace Fude.Models;

/// <summary>A decoder-only transformer: token ids to logits. One file a family, and no family knows of devices or number formats;
/// <see cref="Create"/> lays quantised matrices out for the CPU.</summary>
/// <param name="weights">Where the weights come from; the model owns them.</param>
public abstract class LanguageModel(WeightSource weights) : IDisposable
{
    /// <summary>The hyper-parameters, from config.json.</summary>
    public abstract ModelConfig Config { get; }

    /// <summary>The low-rank adapter the model was loaded with, or null. It can be switched off and on between two passes.</summary>
    public LoraAdapter? Adapter => (weights.Store as AdaptedWeights)?.Adapter;

    /// <summary>Loads the model of a folder in Hugging Face's layout, or of a GGUF file.</summary>
    /// <param name="folder">Holds config.json and the weights; or the file.</param>
    /// <param name="adapterFolder">A PEFT adapter to apply without merging it, or null.</param>
    /// <exception cref="InvalidDataException">A file is missing or damaged, or files are not of one model.</exception>
    /// <exception cref="NotSupportedException">The model is of a kind that fude does not compute.</exception>
    public static LanguageModel Load(string folder, string? adapterFolder = null) => ModelFolder.Open(folder).LoadModel(adapterFolder);

    /// <summary>Builds the model that a configuration describes over any weights: files, random numbers, shapes alone.</summary>
    /// <param name="config">The hyper-parameters.</param>
    /// <param name="weights">Where the weights come from; the model owns them from now on, also when this fails.</param>
    /// <param name="adapter">An adapter to apply; the model owns it likewise.</param>
    /// <exception cref="InvalidDataException">A tensor is missing or has another shape.</exception>
    public static LanguageModel Create(ModelConfig config, IWeightStore weights, LoraAdapter? adapter = null)
    {
        CpuWeights laidOut = new(weights);
        LanguageModel model = CreateAsStored(config, laidOut, adapter);
        if (laidOut.AreQuantized) model.KvCacheFormat = NumberFormat.F16;
        return model;
    }

    /// <summary>Builds it over weights as they are: no matrix is laid out for a device.</summary>
    internal static LanguageModel CreateAsStored(ModelConfig config, IWeightStore weights, LoraAdapter? adapter = null)
    {
        IWeightStore store = adapter is null ? weights : new AdaptedWeights(weights, adapter);
        try
        {
            WeightSource source = new(store);
            LanguageModel model = config switch
            {
                LlamaConfig llama => new Llama(llama, source),
                MistralConfig mistral => new Mistral(mistral, source),
                StableLmConfig stableLm => new StableLm(stableLm, source),
                Gpt2Config gpt2 => new Gpt2(gpt2, source),
                _ => throw new NotSupportedException(Say(
                    $"{config.GetType().Name} is the configuration of no family that fude knows.",
                    $"{config.GetType().Name} は fude が対応しているどのモデルの設定でもありません。")),
            };
            adapter?.RequireAllUsed();
            return model;
        }
        catch
        {
            store.Dispose();
            throw;
        }
    }

    /// <summary>The family's equations.</summary>
    /// <returns>[batch.LogitRows, vocabulary] raw logits.</returns>
    public abstract Tensor Forward(IOps ops, Batch batch);

    /// <summary>How caches that are made from now on keep keys and values: F32, F16, BF16 or Q8_0. Fewer bytes make the tokens of a long text
    /// faster, and round a little; F32 gives what a pass without a cache gives, to the bit. Initially F16 where matrices are quantised, whose own
    /// rounding is far larger, and F32 elsewhere.</summary>
    /// <exception cref="NotSupportedException">Another format.</exception>
    public NumberFormat KvCacheFormat
    {
        get;
        set => field = value is NumberFormat.F32 or NumberFormat.F16 or NumberFormat.BF16 or NumberFormat.Q8_0 ? value
            : throw new NotSupportedException(Say(
                $"Keys and values are not kept in {value}. fude keeps them in F32, F16, BF16 or Q8_0.",
                $"キーと値を {value} では保持できません。使えるのは F32、F16、BF16、Q8_0 です。"));
    }

    /// <summary>An empty cache of this model's shape, in <see cref="KvCacheFormat"/>.</summary>
    /// <param name="ops">The device.</param>
    /// <param name="capacity">Positions it can hold at most.</param>
    public KvCache CreateCache(IOps ops, int capacity) => ops.CreateCache(Config.Layers, Config.KeyValueWidth, capacity, KvCacheFormat);

    /// <summary>About how many bytes the keys and values of so many tokens take, in <see cref="KvCacheFormat"/>.</summary>
    public long CacheBytes(long tokens) => Config.CacheBytes(KvCacheFormat, tokens);

    /// <summary>One forward pass: checks the batch, frees what the last pass made, computes, and lets the caches grow.</summary>
    /// <param name="ops">The device.</param>
    /// <param name="batch">The tokens.</param>
    /// <returns>[batch.LogitRows, vocabulary] raw logits, valid until the next pass on this device.</returns>
    /// <exception cref="ArgumentException">A token id, a position or a cache is out of the model's range, or the batch contradicts
    /// itself.</exception>
    public Tensor Run(IOps ops, Batch batch)
    {
        Check(batch);
        ops.Begin();
        Tensor logits = Forward(ops, batch);
        foreach (Sequence sequence in batch.Sequences) sequence.Cache?.Advance(sequence.Count);
        return logits;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Dispose(disposing: true);
        GC.SuppressFinalize(this);
    }

    /// <summary>Gives the weights' memory back.</summary>
    protected virtual void Dispose(bool disposing)
    {
        if (disposing) weights.Store.Dispose();
    }

    private void Check(Batch batch)
    {
        ModelConfig config = Config;
        int count = batch.Tokens.Length;
        if (count == 0) throw new ArgumentException(Say("The batch has no tokens.", "バッチにトークンがありません。"), nameof(batch));
        if (batch.Positions.Length != count)
            throw new ArgumentException($"The batch has {count} tokens, but {batch.Positions.Length} positions.", nameof(batch));
        foreach (int token in batch.Tokens)
            if ((uint)token >= (uint)config.Vocabulary)
                throw new ArgumentException(Say(
                    $"Token id {token} is not in the model's vocabulary: ids go from 0 to {config.Vocabulary - 1}.",
                    $"トークン ID {token} はモデルの語彙にありません。ID は 0 から {config.Vocabulary - 1} までです。"), nameof(batch));
        foreach (int position in batch.Positions)
            if ((uint)position >= (uint)config.Context)
                throw new ArgumentException(Say(
                    $"Position {position} is beyond the model's context of {config.Context} tokens: shorten the text.",
                    $"位置 {position} はモデルの文脈長 {config.Context} トークンを超えています。テキストを短くしてください。"), nameof(batch));

        int covered = 0;
        foreach (Sequence sequence in batch.Sequences)
        {
            if (sequence.First != covered || sequence.Count < 1 || sequence.Count > count - covered)
                throw new ArgumentException("The batch's sequences do not cover its tokens one after the other.", nameof(batch));
            covered += sequence.Count;
            if (sequence.Cache is { } cache && sequence.Count > cache.Capacity - cache.Length)
                throw new ArgumentException(Say(
                    $"A cache of {cache.Capacity} positions holds {cache.Length} and cannot take {sequence.Count} more.",
                    $"キャッシュの {cache.Capacity} 位置のうち {cache.Length} が使われていて、あと {sequence.Count} は入りません。"), nameof(batch));
        }
        if (covered != count) throw new ArgumentException("The batch's sequences do not cover all its tokens.", nameof(batch));

        int last = -1;
        foreach (int row in batch.LogitRows)
        {
            if (row <= last || row >= count)
                throw new ArgumentException("The batch's logit rows are not ascending indices of its tokens.", nameof(batch));
            last = row;
        }
    }
}
