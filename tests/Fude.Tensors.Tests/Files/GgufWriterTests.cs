namespace Fude.Tensors.Tests;

public sealed class GgufWriterTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("fude-gguf-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    private string InFolder(string name) => Path.Combine(_folder, name);

    private static NewGgufTensor Tensor(string name, params long[] shape) =>
        new(name, NumberFormat.F32, shape, stream => stream.Write(new byte[4 * shape.Aggregate(1L, (a, b) => a * b)]));

    [Fact]
    public void The_bytes_are_those_of_the_format()
    {
        Gguf.Write(InFolder("a.gguf"), [new("a.b", 7u), new("c", new string[] { "い" })],
            [Tensor("w", 2, 3), new NewGgufTensor("v", NumberFormat.F16, [1], stream => stream.Write([1, 2]))]);
        byte[] expected =
        [
            .. "GGUF"u8, 3, 0, 0, 0, .. Long(2), .. Long(2),
            .. Long(3), .. "a.b"u8, 4, 0, 0, 0, 7, 0, 0, 0,
            .. Long(1), .. "c"u8, 9, 0, 0, 0, 8, 0, 0, 0, .. Long(1), .. Long(3), .. "い"u8,
            .. Long(1), .. "w"u8, 2, 0, 0, 0, .. Long(3), .. Long(2), 0, 0, 0, 0, .. Long(0),
            .. Long(1), .. "v"u8, 1, 0, 0, 0, .. Long(1), 1, 0, 0, 0, .. Long(32),
        ];
        expected = [.. expected, .. new byte[-expected.Length & 31], .. new byte[32], 1, 2, .. new byte[30]];
        Assert.Equal(expected, File.ReadAllBytes(InFolder("a.gguf")));

        static byte[] Long(long value) => BitConverter.GetBytes(value);
    }

    [Fact]
    public void A_failure_leaves_the_old_file_and_nothing_else()
    {
        File.WriteAllText(InFolder("a.gguf"), "old");
        NewGgufTensor failing = new("f", NumberFormat.F32, [4], _ => throw new IOException("the disk is full"));
        Assert.Throws<IOException>(() => Gguf.Write(InFolder("a.gguf"), [], [Tensor("w", 2, 3), failing]));
        Assert.Equal("old", File.ReadAllText(InFolder("a.gguf")));
        Assert.Single(Directory.GetFiles(_folder));
        Gguf.Write(InFolder("a.gguf"), [], [Tensor("w", 2, 3)]);
        Assert.True(Gguf.IsGguf(InFolder("a.gguf")));
        Assert.Single(Directory.GetFiles(_folder));
    }

    [Fact]
    public void Mistakes_are_told_before_anything_is_written()
    {
        NewGgufTensor tooFew = new("f", NumberFormat.F32, [4], stream => stream.Write(new byte[12]));
        foreach (Action wrong in (Action[])[
            () => Write([], [Tensor("w", 1), Tensor("w", 1)]), () => Write([new("a", 1), new("a", 1)], []),
            () => Write([], [Tensor("", 1)]), () => Write([], [Tensor(new string('あ', 22), 1)]), () => Write([], [Tensor("w")]),
            () => Write([], [Tensor("w", 1, 1, 1, 1, 1)]), () => Write([], [Tensor("w", 0)]), () => Write([new("a", 1m)], []), () => Write([new("a", new decimal[1])], []),
            () => Write([], [tooFew]), () => Write([new("general.alignment", 32u)], []),
            () => Write([], [new NewGgufTensor("w", NumberFormat.Q8_0, [33], _ => { })])])
            Assert.ThrowsAny<ArgumentException>(wrong);
        Assert.Empty(Directory.GetFiles(_folder));

        void Write(KeyValuePair<string, object>[] metadata, NewGgufTensor[] tensors) => Gguf.Write(InFolder("a.gguf"), metadata, tensors);
    }

    [Fact]
    public void Numbers_that_a_format_cannot_hold_name_the_tensor()
    {
        using TestWeights weights = new();
        Weight large = weights.Of(NumberFormat.F32, 1, 32, [.. new float[31], 1e6f]);
        foreach (NumberFormat format in (NumberFormat[])[NumberFormat.F16, NumberFormat.Q8_0])
            Assert.Contains(
                large.Name,
                Assert.Throws<InvalidDataException>(() => Gguf.Write(
                    InFolder("a.gguf"), [], [NewGgufTensor.Of("w", large, format)])).Message,
                StringComparison.Ordinal);
        Gguf.Write(InFolder("a.gguf"), [], [NewGgufTensor.Of("w", large, NumberFormat.BF16)]);
    }

    [Fact]
    public void Progress_hears_of_every_tensor()
    {
        List<long> heard = [];
        Gguf.Write(InFolder("a.gguf"), [], [Tensor("w", 2, 3), Tensor("v", 100)], new Listener(heard));
        Assert.Equal([32, 32 + 416], heard);
    }

    [Fact]
    public void A_tensor_of_another_file_is_copied_as_it_is()
    {
        using TestWeights weights = new();
        Weight weight = weights.Of(NumberFormat.F32, 5, 64, RandomNumbers.Of("normal", 320, seed: 1));
        Gguf.Write(InFolder("a.gguf"), [], [NewGgufTensor.Of("w", weight, NumberFormat.Q5_0)]);
        using Gguf first = Gguf.Open(InFolder("a.gguf"));
        Gguf.Write(InFolder("b.gguf"), first.Metadata, first.Tensors.Values.Select(NewGgufTensor.Of));
        Assert.Equal(File.ReadAllBytes(InFolder("a.gguf")), File.ReadAllBytes(InFolder("b.gguf")));
    }

    private sealed class Listener(List<long> heard) : IProgress<long>
    {
        public void Report(long value) => heard.Add(value);
    }
}
