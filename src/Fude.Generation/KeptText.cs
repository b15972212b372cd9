using Fude.Models;
using Fude.Tensors;

namespace Fude.Generation;

/// <summary>The text that was written last, with its keys and values: one that begins alike need not be read anew. The next turn of a
/// conversation is such a text.</summary>
/// <remarks>Keys and values are the same bits however a text was read, so what is written does not depend on what is kept. Pages are
/// shared; the engine's thread alone comes here, but for <see cref="IsWanted"/>.</remarks>
internal sealed class KeptText : IDisposable
{
    // A shorter beginning, such as the token that begins every text, is not worth a page of its own.
    private const int Least = 16;

    private int[] _ids = [];
    private KvCache? _cache;
    private volatile bool _isWanted;

    /// <summary>Whether texts are kept.</summary>
    public bool IsWanted
    {
        get => _isWanted;
        set => _isWanted = value;
    }

    /// <summary>A cache for a prompt, holding as much of its beginning as is known; at least its last token is left to run.</summary>
    public KvCache Begin(LanguageModel model, IOps ops, ReadOnlySpan<int> prompt, int capacity)
    {
        if (!IsWanted) Forget();
        int known = _cache is null || _cache.Format != model.KvCacheFormat ? 0
            : Math.Min(prompt.CommonPrefixLength(_ids), prompt.Length - 1);
        return known < Least ? model.CreateCache(ops, capacity) : _cache!.Fork(known, capacity);
    }

    /// <summary>Keeps a text in the place of the last one.</summary>
    /// <param name="text">Its tokens, those in the cache first.</param>
    /// <param name="cache">Belongs to this from now on.</param>
    public void Keep(ReadOnlySpan<int> text, KvCache cache)
    {
        Forget();
        if (IsWanted) (_ids, _cache) = (text[..cache.Length].ToArray(), cache);
        else cache.Dispose();
    }

    public void Dispose() => Forget();

    private void Forget()
    {
        _cache?.Dispose();
        (_ids, _cache) = ([], null);
    }
}
