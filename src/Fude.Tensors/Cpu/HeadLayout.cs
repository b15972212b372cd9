using static Fude.Tensors.Wording;

namespace Fude.Tensors;

/// <summary>Where the keys and values of a head lie in a layer of a page of the cache: see <see cref="ICachedNumbers"/>. The keys of all heads
/// come first.</summary>
/// <param name="Format">F32, F16, BF16 or Q8_0.</param>
/// <param name="Size">Numbers in a head.</param>
internal readonly record struct HeadLayout(NumberFormat Format, int Size)
{
    /// <summary>Numbers that share a scale, where numbers do.</summary>
    internal const int Group = 32;

    private const int Page = AttentionKernel.Page;

    /// <summary>Numbers from one value to the next.</summary>
    public int Padded => PaddedSize(Size);

    public long KeyBytes => Bytes(Size);

    public long ValueBytes => Bytes(Padded);

    public unsafe byte* Keys(byte* layer, int head) => layer + head * KeyBytes;

    public unsafe byte* Values(byte* layer, int head, int heads) => layer + heads * KeyBytes + head * ValueBytes;

    public static int PaddedSize(int size) => checked((size + 15) & ~15);

    public static int Groups(int size) => (size + Group - 1) / Group;

    // Whole cache lines.
    private long Bytes(int size) => (Format switch
    {
        NumberFormat.F32 => 4L * Page * size,
        NumberFormat.F16 or NumberFormat.BF16 => 2L * Page * size,
        _ => (long)Page * size + 2L * Page * Groups(size),
    } + 63) & ~63L;

    /// <summary>Writes the key and the value of one position.</summary>
    /// <param name="keys">The head's keys in the page.</param>
    /// <param name="values">The head's values.</param>
    /// <param name="place">The position's number in the page.</param>
    /// <param name="key">[size].</param>
    /// <param name="value">[size].</param>
    /// <exception cref="InvalidDataException">The format cannot hold a number.</exception>
    public unsafe void Write(byte* keys, byte* values, int place, float* key, float* value)
    {
        switch (Format)
        {
            case NumberFormat.F32:
                for (int i = 0; i < Size; i++) ((float*)keys)[(nint)i * Page + place] = key[i];
                Buffer.MemoryCopy(value, (float*)values + (nint)place * Padded, Size * sizeof(float), Size * sizeof(float));
                break;
            case NumberFormat.F16 or NumberFormat.BF16:
                const int Piece = 256;
                ushort* narrow = stackalloc ushort[Piece];
                for (int first = 0; first < Size; first += Piece)
                {
                    int count = Math.Min(Piece, Size - first);
                    Narrow(new ReadOnlySpan<float>(key + first, count), narrow, isKey: true);
                    for (int i = 0; i < count; i++) ((ushort*)keys)[(nint)(first + i) * Page + place] = narrow[i];
                    Narrow(new ReadOnlySpan<float>(value + first, count), (ushort*)values + (nint)place * Padded + first, isKey: false);
                }
                break;
            default:
                WriteBytes((sbyte*)keys, place, key, Size, apart: Page, first: place, isKey: true);
                WriteBytes((sbyte*)values, place, value, Padded, apart: 1, first: place * Padded, isKey: false);
                break;
        }
    }

    /// <summary>Whether <see cref="WritePage"/> may be used.</summary>
    public bool CanWritePages => Format != NumberFormat.Q8_0 && Size <= LargestPageSize;

    private const int LargestPageSize = 256;

    /// <summary>Writes the first keys and values of a page; what lies beyond them is lost.</summary>
    /// <param name="keys">The head's keys in the page.</param>
    /// <param name="values">The head's values.</param>
    /// <param name="count">How many, from the page's first on.</param>
    /// <param name="key">[count][size], <paramref name="width"/> apart.</param>
    /// <param name="value">[count][size], likewise.</param>
    /// <param name="width">Floats from one row to the next.</param>
    /// <exception cref="InvalidDataException">The format cannot hold a number.</exception>
    public unsafe void WritePage(byte* keys, byte* values, int count, float* key, float* value, nint width)
    {
        float* across = stackalloc float[Format == NumberFormat.F32 ? 1 : Page * LargestPageSize];
        float* target = Format == NumberFormat.F32 ? (float*)keys : across;
        MatrixProduct.PackB(new() { Numbers = key, RowStride = 1, ColumnStride = width }, 0, Size, 0, count, target);
        if (Format != NumberFormat.F32) Narrow(new ReadOnlySpan<float>(across, Page * Size), (ushort*)keys, isKey: true);
        for (int i = 0; i < count; i++, value += width)
        {
            if (Format == NumberFormat.F32) Buffer.MemoryCopy(value, (float*)values + (nint)i * Padded, Size * sizeof(float), Size * sizeof(float));
            else Narrow(new ReadOnlySpan<float>(value, Size), (ushort*)values + (nint)i * Padded, isKey: false);
        }
    }

    private unsafe void Narrow(ReadOnlySpan<float> numbers, ushort* narrow, bool isKey)
    {
        Format.Narrow(numbers, new Span<byte>(narrow, numbers.Length * sizeof(ushort)));
        if (Format != NumberFormat.F16) return;
        for (int i = 0; i < numbers.Length; i++)
            if ((narrow[i] & 0x7FFF) == 0x7C00 && float.IsFinite(numbers[i])) throw Beyond(isKey, numbers[i]);
    }

    // The scale is a half, and the numbers are multiples of what it is then. Padding is of no consequence.
    private unsafe void WriteBytes(sbyte* numbers, int place, float* x, int stored, nint apart, nint first, bool isKey)
    {
        ushort* scales = (ushort*)(numbers + (nint)stored * Page);
        for (int group = 0; group < Size; group += Group, scales += Page)
        {
            int end = Math.Min(Size, group + Group);
            float most = 0;
            for (int i = group; i < end; i++)
            {
                float magnitude = MathF.Abs(x[i]);
                if (!(magnitude <= 65504f * 127)) throw Beyond(isKey, x[i]);
                if (magnitude > most) most = magnitude;
            }
            Half scale = (Half)(most / 127);
            float wide = (float)scale;
            scales[place] = BitConverter.HalfToUInt16Bits(scale);
            for (int i = group; i < end; i++)
            {
                float steps = wide == 0 ? 0 : MathF.Round(x[i] / wide);
                numbers[i * apart + first] = (sbyte)Math.Clamp(steps, -127, 127);
            }
        }
    }

    private InvalidDataException Beyond(bool isKey, float number) => new(Say(
        $"A {(isKey ? "key" : "value")} of the text is {number}, which a cache in {Format} cannot hold. " +
        "Choose a cache in BF16 or F32 (--kv-cache bf16; KvCacheFormat).",
        $"テキストの{(isKey ? "キー" : "値")}に {number} があり、{Format} のキャッシュでは表せません。" +
        "BF16 か F32 のキャッシュを選んでください（--kv-cache bf16、KvCacheFormat）。"));
}
