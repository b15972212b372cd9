using System.Runtime.InteropServices;

namespace Fude.Tensors;

/// <summary>The gradients of the weights that are trained: one flat float32 buffer, in which each weight has its part.</summary>
/// <remarks>
/// A weight is known by where it lies: slices of one matrix (GPT-2's queries, keys and values) and tied weights have one gradient. What
/// is not among the weights is frozen. Parts begin at multiples of 64 bytes; the few numbers between them stay 0.
/// </remarks>
public sealed unsafe class Gradients : IDisposable
{
    private const int Unit = 16;
    private readonly Weight[] _weights;
    private readonly long[] _offsets;
    private readonly NativeBuffer? _memory;

    // Weights by ascending address, to find one by an address within it.
    private readonly Weight[] _byAddress;
    private readonly long[] _offsetsByAddress;

    /// <summary>Gradients of 0 for some weights.</summary>
    /// <param name="weights">Float32 weights, each once, none overlapping another.</param>
    /// <exception cref="ArgumentException">A weight is not float32 or overlaps another.</exception>
    public Gradients(IEnumerable<Weight> weights)
        : this(weights, hasMemory: true)
    {
    }

    /// <summary>Gradients for a <see cref="PassMeter"/> have places, but no memory.</summary>
    internal Gradients(IEnumerable<Weight> weights, bool hasMemory)
    {
        _weights = [.. weights];
        _offsets = new long[_weights.Length];
        for (int i = 0; i < _weights.Length; i++)
        {
            Weight weight = _weights[i];
            if (weight.Format != NumberFormat.F32)
                throw new ArgumentException($"{weight.Name} is {weight.Format}; only float32 weights can be trained.", nameof(weights));
            _offsets[i] = Count;
            Count += ((long)weight.Rows * weight.Columns + Unit - 1) / Unit * Unit;
        }
        int[] order = [.. Enumerable.Range(0, _weights.Length).OrderBy(i => _weights[i].Address)];
        _byAddress = [.. order.Select(i => _weights[i])];
        _offsetsByAddress = [.. order.Select(i => _offsets[i])];
        for (int i = 1; i < _byAddress.Length; i++)
            if (_byAddress[i].Address < _byAddress[i - 1].Address + _byAddress[i - 1].Bytes)
                throw new ArgumentException($"{_byAddress[i - 1].Name} and {_byAddress[i].Name} overlap.", nameof(weights));
        if (!hasMemory) return;
        _memory = new NativeBuffer(Count * sizeof(float));
        Clear();
    }

    /// <summary>The trained weights in the order of the buffer.</summary>
    public IReadOnlyList<Weight> Weights => _weights;

    /// <summary>Numbers in the buffer, those between the parts included.</summary>
    public long Count { get; }

    /// <summary>The buffer's first number.</summary>
    public nint Address => _memory?.Address ?? PassMeter.FirstAddress;

    /// <summary>Where the gradient of a weight begins in the buffer, counted in numbers.</summary>
    /// <param name="index">Index into <see cref="Weights"/>.</param>
    public long OffsetOf(int index) => _offsets[index];

    /// <summary>The gradient of a weight, or of a slice of one; null when it is frozen.</summary>
    public Tensor? Of(Weight weight)
    {
        ArgumentNullException.ThrowIfNull(weight);
        int low = 0, high = _byAddress.Length - 1;
        while (low < high)
        {
            int middle = (low + high + 1) / 2;
            if (_byAddress[middle].Address <= weight.Address) low = middle;
            else high = middle - 1;
        }
        if (high < 0) return null;
        Weight owner = _byAddress[low];
        long offset = weight.Address - owner.Address;
        if (offset < 0 || offset + weight.Bytes > owner.Bytes || weight.Format != NumberFormat.F32) return null;
        return new Tensor(Address + (nint)(_offsetsByAddress[low] * sizeof(float) + offset), weight.Rows, weight.Columns);
    }

    /// <summary>The numbers of a weight's gradient: for tests, reports and small weights.</summary>
    /// <param name="index">Index into <see cref="Weights"/>.</param>
    public Span<float> Numbers(int index) =>
        new((float*)Address + _offsets[index], checked(_weights[index].Rows * _weights[index].Columns));

    /// <summary>Sets all gradients to 0.</summary>
    public void Clear() => NativeMemory.Clear((void*)Address, (nuint)(Count * sizeof(float)));

    /// <summary>Gives the memory back.</summary>
    public void Dispose() => _memory?.Dispose();
}
