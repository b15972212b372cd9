namespace Fude.Tensors;

/// <summary>The keys and values of one text, layer by layer, so that its next token needs only its own forward pass.</summary>
/// <remarks>Made by <see cref="IOps.CreateCache"/>. Not thread-safe: one forward pass at a time.</remarks>
public abstract class KvCache : IDisposable
{
    /// <summary>Positions held in every layer.</summary>
    public int Length { get; private protected set; }

    /// <summary>Positions it can hold at most.</summary>
    public abstract int Capacity { get; }

    /// <summary>How the numbers are kept: rounded to it when they are appended, and widened again, exactly, when they are read.</summary>
    public abstract NumberFormat Format { get; }

    /// <summary>Makes what attention appended since the last call count: <see cref="Length"/> grows by <paramref name="count"/>.
    /// Called once a forward pass, when all layers have run.</summary>
    /// <exception cref="InvalidOperationException">Attention has not appended so many positions.</exception>
    public abstract void Advance(int count);

    /// <summary>Forgets every position from <paramref name="length"/> on.</summary>
    /// <exception cref="ArgumentOutOfRangeException">There are fewer.</exception>
    public abstract void Truncate(int length);

    /// <summary>A second cache with the same contents. Pages are shared; one that both hold is copied when either of them next writes to it
    /// (copy on write). So beams and common prompts cost little.</summary>
    public KvCache Fork() => Fork(Length, Capacity);

    /// <summary>A second cache with the first positions of this one, shared likewise: for a text that begins as this one does.</summary>
    /// <param name="length">How many of them.</param>
    /// <param name="capacity">Positions the second can hold at most.</param>
    /// <exception cref="ArgumentOutOfRangeException">There are fewer positions than length, or the capacity is below it.</exception>
    public abstract KvCache Fork(int length, int capacity);

    /// <inheritdoc/>
    public void Dispose()
    {
        Dispose(disposing: true);
        GC.SuppressFinalize(this);
    }

    /// <summary>Gives the memory back.</summary>
    protected abstract void Dispose(bool disposing);
}
