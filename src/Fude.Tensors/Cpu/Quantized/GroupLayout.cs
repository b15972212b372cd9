using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace Fude.Tensors;

/// <summary>How a quantised matrix lies in memory for the int8 kernels: sixteen rows side by side, one to a vector lane.</summary>
/// <remarks>
/// A group of sixteen rows is a row of units; a unit holds one GGUF block of each: a header, then runs of 32 numbers.
/// <list type="bullet">
/// <item>The header (super-blocks of 256 only) has d of the sixteen rows as halves, then dmin where the format has minima.</item>
/// <item>A run begins with the rows' scales and minima: d (and m) as halves where a block is one run, else s and m as bytes, or, where
/// sixteen numbers share a scale (Q6_K), the s of its first and of its second half.</item>
/// <item>Then come 64-byte vectors of levels, in each of which row r has bytes 4r to 4r + 3: four neighbouring numbers, a quad, which is
/// what a lane of a byte dot product takes at once. The run has eight quads. Of 4-bit levels vector v holds quad v in its low
/// half-bytes and quad v + 4 in its high ones. Of 5-bit levels a fifth vector follows, whose bit j belongs to quad j; of 6-bit levels two
/// follow, with two bits for each of quads 0 to 3 and 4 to 7. 8-bit levels fill eight vectors.</item>
/// </list>
/// Levels are unsigned; the number is scale · (level − <see cref="Offset"/>) and the minimum. Quads lie so that GGUF's half-bytes are
/// moved four bytes at a time, as they are. Sizes are GGUF's, but for Q4_K and Q5_K, whose 6-bit scales take bytes: 2.8 and 2.3 % more.
/// Rows that a last group lacks are zeros.
/// </remarks>
internal sealed unsafe class GroupLayout
{
    public const int Rows = 16, Run = 32, VectorBytes = 64;

    private static readonly GroupLayout?[] Layouts = new GroupLayout?[Enum.GetValues<NumberFormat>().Length];

    static GroupLayout()
    {
        Add(new(NumberFormat.Q8_0, bits: 8, offset: 128, hasMinimum: false));
        Add(new(NumberFormat.Q4_0, bits: 4, offset: 8, hasMinimum: false));
        Add(new(NumberFormat.Q4_1, bits: 4, offset: 0, hasMinimum: true));
        Add(new(NumberFormat.Q5_0, bits: 5, offset: 16, hasMinimum: false));
        Add(new(NumberFormat.Q5_1, bits: 5, offset: 0, hasMinimum: true));
        Add(new(NumberFormat.Q4_K, bits: 4, offset: 0, hasMinimum: true));
        Add(new(NumberFormat.Q5_K, bits: 5, offset: 0, hasMinimum: true));
        Add(new(NumberFormat.Q6_K, bits: 6, offset: 32, hasMinimum: false));

        static void Add(GroupLayout layout) => Layouts[(int)layout.Format] = layout;
    }

    private GroupLayout(NumberFormat format, int bits, int offset, bool hasMinimum)
    {
        (Format, Bits, Offset, HasMinimum) = (format, bits, offset, hasMinimum);
        UnitLength = format.BlockLength();
        bool isSuper = UnitLength > Run;
        HeaderBytes = isSuper ? (hasMinimum ? 4 : 2) * Rows : 0;
        RunHeaderBytes = isSuper || !hasMinimum ? 2 * Rows : 4 * Rows;
        RunBytes = RunHeaderBytes + (VectorBytes * bits);
        UnitBytes = HeaderBytes + (UnitLength / Run * RunBytes);
    }

    public NumberFormat Format { get; }

    /// <summary>Bits of a level, and vectors of a run.</summary>
    public int Bits { get; }

    /// <summary>The level that stands for 0.</summary>
    public int Offset { get; }

    public bool HasMinimum { get; }

    /// <summary>Numbers of a row in a unit.</summary>
    public int UnitLength { get; }

    public int HeaderBytes { get; }

    public int RunHeaderBytes { get; }

    public int RunBytes { get; }

    public int UnitBytes { get; }

    /// <summary>The layout of a format, or null where there are no int8 kernels for it.</summary>
    public static GroupLayout? Of(NumberFormat format) => (uint)format < (uint)Layouts.Length ? Layouts[(int)format] : null;

    /// <summary>Bytes of sixteen rows.</summary>
    public long GroupBytes(int columns) => (long)columns / UnitLength * UnitBytes;

    /// <summary>Bytes of a matrix.</summary>
    public long Bytes(int rows, int columns) => checked(((long)rows + Rows - 1) / Rows * GroupBytes(columns));

    /// <summary>Lays out sixteen rows, or as many as there are.</summary>
    /// <param name="source">Rows of GGUF blocks, one after the other.</param>
    /// <param name="rows">Their number, at most sixteen.</param>
    /// <param name="columns">Numbers in a row.</param>
    /// <param name="group">Receives the group.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]      // a loading model is done before the compiler's second tier
    public void Pack(byte* source, int rows, int columns, byte* group)
    {
        int blockBytes = Format.BlockBytes(), runs = UnitLength / Run;
        nint rowBytes = (nint)Format.Bytes(columns);
        if (rows < Rows) NativeMemory.Clear(group, (nuint)GroupBytes(columns));
        for (int unit = 0; unit < columns / UnitLength; unit++, group += UnitBytes, source += blockBytes)
        {
            byte* block = source;
            // The two commonest formats are laid out as fast as memory takes them.
            if (Format == NumberFormat.Q4_0)
            {
                for (int row = 0; row < rows; row++, block += rowBytes)
                {
                    ((ushort*)group)[row] = *(ushort*)block;
                    PutHalfBytes(group + (2 * Rows) + (4 * row), Vector128.Load(block + 2));
                }
                continue;
            }
            if (Format == NumberFormat.Q8_0)
            {
                for (int row = 0; row < rows; row++, block += rowBytes)
                {
                    ((ushort*)group)[row] = *(ushort*)block;
                    PutBytes(group + (2 * Rows) + (4 * row), block + 2);
                }
                continue;
            }
            for (int row = 0; row < rows; row++, block += rowBytes)
            {
                PackScales(block, row, group);
                byte* vectors = group + HeaderBytes + RunHeaderBytes + (4 * row);
                for (int run = 0; run < runs; run++, vectors += RunBytes) PackLevels(block, run, vectors);
            }
        }
    }

    /// <summary>One row of a group as float32, with the bits of <see cref="NumberFormats.Widen"/>.</summary>
    /// <param name="group">The group.</param>
    /// <param name="row">Which of its sixteen.</param>
    /// <param name="first">The first number, at the beginning of a unit.</param>
    /// <param name="numbers">Receives whole units.</param>
    public void Read(byte* group, int row, int first, Span<float> numbers)
    {
        byte* levels = stackalloc byte[Run];
        byte* unit = group + ((nint)(first / UnitLength) * UnitBytes);
        bool isSuper = UnitLength > Run;
        for (; numbers.Length > 0; unit += UnitBytes)
        {
            float d = isSuper ? ReadHalf(unit, row) : 0, dmin = isSuper && HasMinimum ? ReadHalf(unit + (2 * Rows), row) : 0;
            byte* run = unit + HeaderBytes;
            for (int i = 0; i < UnitLength / Run; i++, run += RunBytes, numbers = numbers[Run..])
            {
                ReadLevels(run + RunHeaderBytes + (4 * row), levels);
                float first16, second16, minimum = 0;
                if (!isSuper)
                {
                    first16 = second16 = ReadHalf(run, row);
                    if (HasMinimum) minimum = ReadHalf(run + (2 * Rows), row);
                }
                else if (HasMinimum)
                {
                    first16 = second16 = d * run[row];
                    minimum = -(dmin * run[Rows + row]);
                }
                else
                {
                    first16 = d * (sbyte)run[row];
                    second16 = d * (sbyte)run[Rows + row];
                }
                for (int k = 0; k < Run; k++)
                {
                    float number = (k < 16 ? first16 : second16) * (levels[k] - Offset);
                    numbers[k] = HasMinimum ? number + minimum : number;
                }
            }
        }
    }

    private static float ReadHalf(byte* halves, int row) => (float)BitConverter.UInt16BitsToHalf(((ushort*)halves)[row]);

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private void PackScales(byte* block, int row, byte* unit)
    {
        switch (Format)
        {
            case NumberFormat.Q5_0:
                ((ushort*)unit)[row] = *(ushort*)block;
                break;
            case NumberFormat.Q4_1 or NumberFormat.Q5_1:
                ((ushort*)unit)[row] = *(ushort*)block;
                ((ushort*)unit)[Rows + row] = *(ushort*)(block + 2);
                break;
            case NumberFormat.Q4_K or NumberFormat.Q5_K:
                ((ushort*)unit)[row] = *(ushort*)block;
                ((ushort*)unit)[Rows + row] = *(ushort*)(block + 2);
                ReadOnlySpan<byte> pairs = new(block + 4, 12);
                for (int run = 0; run < 8; run++)
                {
                    (int scale, int minimum) = SixBitPairs.Read(pairs, run);
                    byte* header = unit + HeaderBytes + (run * RunBytes);
                    header[row] = (byte)scale;
                    header[Rows + row] = (byte)minimum;
                }
                break;
            default:        // Q6_K
                ((ushort*)unit)[row] = *(ushort*)(block + 208);
                for (int run = 0; run < 8; run++)
                {
                    byte* header = unit + HeaderBytes + (run * RunBytes);
                    header[row] = block[192 + (2 * run)];
                    header[Rows + row] = block[193 + (2 * run)];
                }
                break;
        }
    }

    // One row's levels of a run are as many words of four bytes as a level has bits; each goes into a vector of its own.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private void PackLevels(byte* block, int run, byte* vectors)
    {
        switch (Format)
        {
            case NumberFormat.Q4_1:
                PutHalfBytes(vectors, Vector128.Load(block + 4));
                break;
            case NumberFormat.Q5_0:
                PutHalfBytes(vectors, Vector128.Load(block + 6));
                Put(vectors, 4, ByQuads(Word(block + 2)));
                break;
            case NumberFormat.Q5_1:
                PutHalfBytes(vectors, Vector128.Load(block + 8));
                Put(vectors, 4, ByQuads(Word(block + 4)));
                break;
            case NumberFormat.Q4_K:
                PutHalfBytes(vectors, HalfBytes(block + 16 + (32 * (run / 2)), run % 2));
                break;
            case NumberFormat.Q5_K:
                PutHalfBytes(vectors, HalfBytes(block + 48 + (32 * (run / 2)), run % 2));
                uint fifth = 0;
                for (int quad = 0; quad < 8; quad++) fifth |= ((Word(block + 16 + (4 * quad)) >> run) & 0x01010101) << quad;
                Put(vectors, 4, fifth);
                break;
            default:        // Q6_K: run 4h + k
                (int h, int k) = (run / 4, run % 4);
                PutHalfBytes(vectors, HalfBytes(block + (64 * h) + (32 * (k % 2)), k / 2));
                uint front = 0, back = 0;
                for (int quad = 0; quad < 4; quad++)
                {
                    byte* upper = block + 128 + (32 * h) + (4 * quad);
                    front |= ((Word(upper) >> (2 * k)) & 0x03030303) << (2 * quad);
                    back |= ((Word(upper + 16) >> (2 * k)) & 0x03030303) << (2 * quad);
                }
                Put(vectors, 4, front);
                Put(vectors, 5, back);
                break;
        }
    }

    private void ReadLevels(byte* vectors, byte* levels)
    {
        for (int quad = 0; quad < 8; quad++)
            for (int i = 0; i < 4; i++)
            {
                int number = (4 * quad) + i;
                if (Bits == 8)
                {
                    levels[number] = vectors[(quad * VectorBytes) + i];
                    continue;
                }
                int level = (vectors[(quad % 4 * VectorBytes) + i] >> (quad < 4 ? 0 : 4)) & 15;
                if (Bits == 5) level |= ((vectors[(4 * VectorBytes) + i] >> quad) & 1) << 4;
                if (Bits == 6) level |= ((vectors[((4 + (quad / 4)) * VectorBytes) + i] >> (2 * (quad % 4))) & 3) << 4;
                levels[number] = (byte)level;
            }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static uint Word(byte* bytes) => *(uint*)bytes;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Put(byte* vectors, int vector, uint word) => *(uint*)(vectors + (vector * VectorBytes)) = word;

    // Byte j of the sixteen: number j low, number j + 16 high. Word v is then quad v low, quad v + 4 high.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void PutHalfBytes(byte* vectors, Vector128<byte> bytes)
    {
        Vector128<uint> words = bytes.AsUInt32();
        Put(vectors, 0, words[0]);
        Put(vectors, 1, words[1]);
        Put(vectors, 2, words[2]);
        Put(vectors, 3, words[3]);
    }

    // Signed bytes become levels from 0 on.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void PutBytes(byte* vectors, byte* bytes)
    {
        for (int quad = 0; quad < 8; quad++) Put(vectors, quad, Word(bytes + (4 * quad)) ^ 0x80808080);
    }

    // Super-blocks keep 32 numbers in the same half of 32 bytes.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<byte> HalfBytes(byte* bytes, int half)
    {
        Vector128<byte> front = Vector128.Load(bytes), back = Vector128.Load(bytes + 16), low = Vector128.Create((byte)15);
        return half == 0
            ? (front & low) | (back << 4)
            : (front >>> 4) | (back & ~low);
    }

    // Bit 4j + i moves to bit j of byte i.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static uint ByQuads(uint bits)
    {
        uint result = 0;
        for (int i = 0; i < 4; i++)
        {
            uint spread = (bits >> i) & 0x11111111;
            spread = (spread | spread >> 3) & 0x03030303;
            spread = (spread | spread >> 6) & 0x000F000F;
            result |= ((spread | spread >> 12) & 0xFF) << (8 * i);
        }
        return result;
    }
}
