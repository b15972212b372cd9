using System.Runtime.CompilerServices;
using static Fude.Tensors.Wording;

namespace Fude.Tensors;

/// <summary>A named array of numbers as it lies in a file, or will.</summary>
/// <remarks>A view: the memory belongs to the file it came from, and is gone when that is disposed.</remarks>
public sealed unsafe class StoredTensor
{
    private readonly long[] _shape;
    private readonly long[] _strides;

    // Strides count elements. Whoever makes one has checked that every element lies in memory.
    internal StoredTensor(string file, string name, ElementType type, long[] shape, long[] strides, nint address)
    {
        (File, Name, Type, _shape, _strides, Address) = (file, name, type, shape, strides, address);
        Count = CountOf(shape) ?? throw new ArgumentOutOfRangeException(nameof(shape), ShapeText, "Too many elements.");
        IsContiguous = IsDense(shape, strides);
    }

    /// <summary>The name in the checkpoint.</summary>
    public string Name { get; }

    /// <summary>What it is made of.</summary>
    public ElementType Type { get; }

    /// <summary>Its dimensions, the slowest first; none for a single number.</summary>
    public IReadOnlyList<long> Shape => _shape;

    /// <summary>How many elements it has.</summary>
    public long Count { get; }

    /// <summary>Bytes of its elements.</summary>
    public long Bytes => Count * Type.Size();

    /// <summary>The file it lies in.</summary>
    public string File { get; }

    internal nint Address { get; }

    internal ReadOnlySpan<long> Strides => _strides;

    /// <summary>Elements follow one another in the order of the shape.</summary>
    internal bool IsContiguous { get; }

    internal bool IsAligned => Address % Type.Size() == 0;

    internal string ShapeText => $"[{string.Join(", ", _shape)}]";

    /// <summary>How many elements an array of that shape has; null when 63 bits do not hold it.</summary>
    internal static long? CountOf(ReadOnlySpan<long> shape)
    {
        long count = 1;
        foreach (long size in shape)
        {
            if (size != 0 && count > long.MaxValue / size) return null;
            count *= size;
        }
        return count;
    }

    /// <summary>Strides of an array without gaps.</summary>
    internal static long[] DenseStrides(long[] shape)
    {
        long[] strides = new long[shape.Length];
        long stride = 1;
        for (int i = shape.Length - 1; i >= 0; i--)
        {
            strides[i] = stride;
            stride = unchecked(stride * Math.Max(shape[i], 1));     // only read where it did not overflow: count was checked
        }
        return strides;
    }

    /// <summary>All numbers as float32, in the order of the shape. F64 is rounded; integers and truth values are converted.</summary>
    /// <exception cref="NotSupportedException">They are 8-bit floats, or more than an array holds.</exception>
    public float[] ToFloats() => Type switch
    {
        ElementType.F32 => Convert<float, float>(static x => x),
        ElementType.F64 => Convert<double, float>(static x => (float)x),
        ElementType.F16 => Convert<Half, float>(static x => (float)x),
        ElementType.BF16 => Convert<ushort, float>(static x => BitConverter.UInt32BitsToSingle((uint)x << 16)),
        ElementType.Bool => Convert<byte, float>(static x => x == 0 ? 0 : 1),
        ElementType.U8 => Convert<byte, float>(static x => x),
        ElementType.I8 => Convert<sbyte, float>(static x => x),
        ElementType.U16 => Convert<ushort, float>(static x => x),
        ElementType.I16 => Convert<short, float>(static x => x),
        ElementType.U32 => Convert<uint, float>(static x => x),
        ElementType.I32 => Convert<int, float>(static x => x),
        ElementType.U64 => Convert<ulong, float>(static x => x),
        ElementType.I64 => Convert<long, float>(static x => x),
        _ => throw new NotSupportedException(Say(
            $"{File}: tensor '{Name}' is {Type.FileName()}, which fude does not read as numbers.",
            $"{File}: テンソル '{Name}' は {Type.FileName()} です。fude はこの型を数値として読めません。")),
    };

    /// <summary>All numbers of an integer tensor, in the order of the shape: token ids in reference values.</summary>
    /// <exception cref="NotSupportedException">They are not integers of at most 64 bits with a sign, or more than an
    /// array holds.</exception>
    public long[] ToIntegers() => Type switch
    {
        ElementType.I64 => Convert<long, long>(static x => x),
        ElementType.I32 => Convert<int, long>(static x => x),
        ElementType.I16 => Convert<short, long>(static x => x),
        ElementType.I8 => Convert<sbyte, long>(static x => x),
        ElementType.U32 => Convert<uint, long>(static x => x),
        ElementType.U16 => Convert<ushort, long>(static x => x),
        ElementType.U8 => Convert<byte, long>(static x => x),
        ElementType.Bool => Convert<byte, long>(static x => x == 0 ? 0 : 1),
        _ => throw new NotSupportedException(Say(
            $"{File}: tensor '{Name}' is {Type.FileName()}, not integers.",
            $"{File}: テンソル '{Name}' は {Type.FileName()} で、整数ではありません。")),
    };

    /// <summary>Writes the bytes of all numbers in the order of the shape.</summary>
    internal void WriteTo(Stream stream)
    {
        int size = Type.Size();
        if (IsContiguous)
        {
            Write(stream, Address, Count * size);
            return;
        }
        CheckCountAgainstMemory();
        byte[] buffer = new byte[1 << 16];
        int filled = 0;
        Walk walk = new(_shape, _strides);
        for (long i = 0; i < Count; i++)
        {
            new ReadOnlySpan<byte>((byte*)Address + (walk.Offset * size), size).CopyTo(buffer.AsSpan(filled));
            walk.Step();
            filled += size;
            if (filled < buffer.Length) continue;
            stream.Write(buffer, 0, filled);
            filled = 0;
        }
        stream.Write(buffer, 0, filled);
    }

    /// <summary>Writes memory of any length.</summary>
    internal static void Write(Stream stream, nint address, long bytes)
    {
        const int Piece = 1 << 24;
        for (long done = 0; done < bytes; done += Piece)
            stream.Write(new ReadOnlySpan<byte>((byte*)address + done, (int)Math.Min(Piece, bytes - done)));
    }

    private TTo[] Convert<TFrom, TTo>(Func<TFrom, TTo> convert)
        where TFrom : unmanaged
    {
        if (Count > Array.MaxLength)
            throw new NotSupportedException(Say(
                $"{File}: tensor '{Name}' has {Count} numbers, more than an array holds ({Array.MaxLength}).",
                $"{File}: テンソル '{Name}' の要素数は {Count} で、配列の上限 {Array.MaxLength} を超えています。"));
        CheckCountAgainstMemory();
        TTo[] numbers = new TTo[Count];
        Walk walk = new(_shape, _strides);
        for (long i = 0; i < Count; i++)
        {
            numbers[i] = convert(Unsafe.ReadUnaligned<TFrom>((byte*)Address + (walk.Offset * sizeof(TFrom))));
            walk.Step();
        }
        return numbers;
    }

    /// <summary>Strides that meet the same numbers again, 0 above all: a tiny file could then ask for any amount of memory.</summary>
    internal void CheckCountAgainstMemory()
    {
        if (Count == 0) return;
        long reach = 1;     // from the first to the last number, which lie in memory
        for (int axis = 0; axis < _shape.Length; axis++)
        {
            if (_strides[axis] == 0 && _shape[axis] > 1)
                throw new InvalidDataException(Say(
                    $"{File}: tensor '{Name}' {ShapeText} repeats the same numbers along dimension {axis}. " +
                    "Weights have numbers of their own.",
                    $"{File}: テンソル '{Name}' {ShapeText} は次元 {axis} に沿って同じ数を繰り返しています。重みの要素はそれぞれ別の数でなければなりません。"));
            if (_shape[axis] > 1) reach += (_shape[axis] - 1) * _strides[axis];
        }
        if (Count > reach)
            throw new InvalidDataException(Say(
                $"{File}: tensor '{Name}' {ShapeText} with strides [{string.Join(", ", _strides)}] takes {Count} numbers out of {reach}, " +
                "some of them again and again. Weights have numbers of their own.",
                $"{File}: テンソル '{Name}' {ShapeText}（ストライド [{string.Join(", ", _strides)}]）は {reach} 個の数から {Count} 個を、" +
                "重複して取り出しています。重みの要素はそれぞれ別の数でなければなりません。"));
    }

    private static bool IsDense(long[] shape, long[] strides)
    {
        long expected = 1;
        foreach (long size in shape) if (size == 0) return true;
        for (int axis = shape.Length - 1; axis >= 0; axis--)
        {
            if (shape[axis] == 1) continue;
            if (strides[axis] != expected) return false;
            expected *= shape[axis];
        }
        return true;
    }

    /// <summary>Goes through the elements in the order of the shape.</summary>
    private struct Walk(long[] shape, long[] strides)
    {
        private readonly long[] _index = new long[shape.Length];

        public long Offset { get; private set; }

        public void Step()
        {
            for (int axis = shape.Length - 1; axis >= 0; axis--)
            {
                Offset += strides[axis];
                if (++_index[axis] < shape[axis]) return;
                Offset -= strides[axis] * shape[axis];
                _index[axis] = 0;
            }
        }
    }
}
