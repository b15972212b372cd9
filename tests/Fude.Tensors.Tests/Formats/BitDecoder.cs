namespace Fude.Tensors.Tests;

/// <summary>Decodes one number of a block from the bits that the format's description gives it: slow, and written apart from the readers
/// that are tested against it.</summary>
/// <remarks>Every format is x = scale·level − offset with scale, level and offset as whole numbers times halves. Bit n of a block is bit
/// n mod 8 of byte n/8.</remarks>
internal sealed class BitDecoder(NumberFormat format, byte[] block)
{
    private static readonly int[] Uneven = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

    public float this[int i] => format switch
    {
        NumberFormat.Q8_0 => Half(0) * Signed(Bits(16 + (8 * i), 8)),
        NumberFormat.Q4_0 => Half(0) * (Nibble(2, i) - 8),
        NumberFormat.Q4_1 => (Half(0) * Nibble(4, i)) + Half(2),
        NumberFormat.Q5_0 => Half(0) * (Nibble(6, i) + (16 * Bits(16 + i, 1)) - 16),
        NumberFormat.Q5_1 => (Half(0) * (Nibble(8, i) + (16 * Bits(32 + i, 1)))) + Half(2),
        NumberFormat.Q2_K => Affine(Half(80) * Bits(8 * (i / 16), 4), TwoBits(16, i), Half(82) * Bits((8 * (i / 16)) + 4, 4)),
        NumberFormat.Q3_K => Half(108) * (ThreeBitScale(i / 16) - 32) * (TwoBits(32, i) + (4 * Bits((8 * (i % 32)) + (i / 32), 1)) - 4),
        NumberFormat.Q4_K => Affine(Half(0) * PairScale(i / 32), PairedNibble(16, i), Half(2) * PairMinimum(i / 32)),
        NumberFormat.Q5_K => Affine(
            Half(0) * PairScale(i / 32), PairedNibble(48, i) + (16 * Bits(128 + (8 * (i % 32)) + (i / 32), 1)),
            Half(2) * PairMinimum(i / 32)),
        NumberFormat.Q6_K => Half(208) * Signed(Bits(1536 + (8 * (i / 16)), 8)) * (SixBitNibble(i) + (16 * TwoBits(128, i)) - 32),
        NumberFormat.IQ4_NL => Half(0) * Uneven[Nibble(2, i)],
        NumberFormat.IQ4_XS => Half(0) * (UnevenScale(i / 32) - 32) * Uneven[Nibble(8 + (16 * (i / 32)), i % 32)],
        _ => throw new ArgumentOutOfRangeException(nameof(format)),
    };

    private static float Affine(float scale, int level, float offset) => (scale * level) - offset;

    private int Bits(int first, int count)
    {
        int value = 0;
        for (int n = 0; n < count; n++) value |= ((block[(first + n) / 8] >> ((first + n) % 8)) & 1) << n;
        return value;
    }

    private static int Signed(int value) => value < 128 ? value : value - 256;

    private float Half(int at) => (float)BitConverter.UInt16BitsToHalf((ushort)Bits(8 * at, 16));

    // The first 16 numbers in the low, the last 16 in the high halves of 16 bytes.
    private int Nibble(int at, int i) => Bits((8 * (at + (i % 16))) + (4 * (i / 16)), 4);

    // 32 numbers in the low, the next 32 in the high halves of 32 bytes, four times.
    private int PairedNibble(int at, int i) => Bits((8 * (at + (32 * (i / 64)) + (i % 32))) + (i % 64 < 32 ? 0 : 4), 4);

    // Numbers j, j + 32, j + 64, j + 96 share byte j; the second 128 numbers have the next 32 bytes.
    private int TwoBits(int at, int i) => Bits((8 * (at + (32 * (i / 128)) + (i % 32))) + (2 * (i % 128 / 32)), 2);

    // 128 numbers in 64 bytes: the first 64 of them low, the last 64 high.
    private int SixBitNibble(int i) => Bits((8 * ((64 * (i / 128)) + (i % 64))) + (i % 128 < 64 ? 0 : 4), 4);

    private int ThreeBitScale(int r) => Bits((8 * (96 + (r % 8))) + (r < 8 ? 0 : 4), 4)
        + (16 * Bits((8 * (104 + (r % 4))) + (2 * (r / 4)), 2));

    private int PairScale(int r) => r < 4 ? Bits(32 + (8 * r), 6) : Bits(32 + (8 * (r + 4)), 4) + (16 * Bits(32 + (8 * (r - 4)) + 6, 2));

    private int PairMinimum(int r) => r < 4 ? Bits(32 + (8 * (r + 4)), 6) : Bits(32 + (8 * (r + 4)) + 4, 4)
        + (16 * Bits(32 + (8 * r) + 6, 2));

    private int UnevenScale(int r) => Bits(32 + (4 * r), 4) + (16 * Bits(16 + (2 * r), 2));
}
