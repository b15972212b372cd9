namespace Fude.Tensors.Tests;

public sealed unsafe class GroupLayoutTests
{
    public static TheoryData<NumberFormat> Formats() =>
        new(Enum.GetValues<NumberFormat>().Where(format => GroupLayout.Of(format) is not null));

    [Theory, MemberData(nameof(Formats))]
    public void A_row_of_a_group_reads_as_the_row_of_the_file(NumberFormat format)
    {
        const int Rows = 37, Columns = 768;
        byte[] blocks = RandomBlocks.Of(format, Rows * Columns / format.BlockLength(), seed: 5);
        fixed (byte* stored = blocks)
        {
            Weight w = new("w", format, Rows, Columns, (nint)stored);
            using CpuWeights weights = new(new OneWeight(w));
            Weight grouped = weights.Matrix("w", Rows, Columns), slice = grouped.Slice(7, 20);
            Assert.NotNull(grouped.Groups);
            Assert.Equal(w.Bytes, grouped.Bytes);
            float[] expected = new float[Columns], found = new float[Columns];
            for (int row = 0; row < Rows; row++)
            {
                w.ReadRow(row, expected);
                grouped.ReadRow(row, found);
                Numbers.SameBits(expected, found, $"row {row}");
                if (row is < 7 or >= 27) continue;
                slice.ReadRow(row - 7, found);
                Numbers.SameBits(expected, found, $"row {row} of the slice");
            }
        }
    }

    [Theory, MemberData(nameof(Formats))]
    public void Sizes_are_those_of_the_file_but_for_three_per_cent(NumberFormat format)
    {
        long bytes = GroupLayout.Of(format)!.Bytes(32, 1024), inFile = 32 * format.Bytes(1024);
        Assert.InRange(bytes, inFile, inFile * 103 / 100);
    }

    /// <summary>A store of one matrix.</summary>
    internal sealed class OneWeight(Weight weight) : IWeightStore
    {
        public bool IsReleased { get; private set; }

        public bool Contains(string name) => name == weight.Name;

        public Weight Matrix(string name, int rows, int columns, bool transposed = false) => weight;

        public Weight Vector(string name, int length) => weight;

        public void Release(Weight matrix) => IsReleased = matrix == weight;

        public void Dispose()
        {
        }
    }
}
