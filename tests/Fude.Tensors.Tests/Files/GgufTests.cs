using Fude.TestData;

namespace Fude.Tensors.Tests;

public sealed class GgufTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("fude-gguf-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    private string InFolder(string name) => Path.Combine(_folder, name);

    private string File(byte[] bytes, string name = "model.gguf")
    {
        System.IO.File.WriteAllBytes(InFolder(name), bytes);
        return InFolder(name);
    }

    private static Dictionary<string, object> AllKinds() => new()
    {
        ["u8"] = (byte)200,
        ["i8"] = (sbyte)-100,
        ["u16"] = (ushort)60000,
        ["i16"] = (short)-30000,
        ["u32"] = 4000000000u,
        ["i32"] = -2000000000,
        ["f32"] = 0.1f,
        ["yes"] = true,
        ["no"] = false,
        ["text"] = "吾輩は猫である。𠮷",
        ["empty"] = "",
        ["u64"] = ulong.MaxValue,
        ["i64"] = long.MinValue,
        ["f64"] = Math.PI,
        ["u8s"] = new byte[] { 1, 255 },
        ["i8s"] = new sbyte[] { 1, -1 },
        ["u16s"] = new ushort[] { 7, 65535 },
        ["i16s"] = new short[] { 7, -7 },
        ["u32s"] = new uint[] { 7, uint.MaxValue },
        ["i32s"] = new int[] { 3, -3 },
        ["f32s"] = new float[] { 1.5f, float.NaN, float.NegativeInfinity },
        ["flags"] = new bool[] { true, false, true },
        ["texts"] = new string[] { "", "▁", "<0x0A>" },
        ["u64s"] = new ulong[] { 1, ulong.MaxValue },
        ["i64s"] = new long[] { 1, long.MinValue },
        ["f64s"] = new double[] { 1e-300 },
        ["nested"] = new Array[] { new int[] { 1, 2 }, Array.Empty<string>(), new Array[] { new byte[] { 9 } } },
    };

    [Fact]
    public void Metadata_of_every_kind_comes_back()
    {
        Gguf.Write(InFolder("a.gguf"), AllKinds(), []);
        using Gguf gguf = Gguf.Open(InFolder("a.gguf"));
        Assert.Equal(AllKinds().Keys, gguf.Metadata.Keys);
        foreach ((string key, object value) in AllKinds())
        {
            Assert.Equal(value.GetType(), gguf.Metadata[key].GetType());
            Assert.Equivalent(value, gguf.Metadata[key], strict: true);
        }
        Assert.Empty(gguf.Tensors);
    }

    [Fact]
    public void Metadata_is_asked_for_by_meaning()
    {
        Gguf.Write(InFolder("a.gguf"), AllKinds(), []);
        using Gguf gguf = Gguf.Open(InFolder("a.gguf"));
        Assert.Equal(200, gguf.Integer("u8"));
        Assert.Equal(-30000, gguf.Integer("i16"));
        Assert.Equal(4000000000, gguf.Integer("u32"));
        Assert.Equal(0.1f, gguf.Real("f32"));
        Assert.Equal(-100, gguf.Real("i8"));
        Assert.Equal(Math.PI, gguf.Real("f64"));
        Assert.True(gguf.Flag("yes"));
        Assert.Equal("吾輩は猫である。𠮷", gguf.Text("text"));
        Assert.Equal(["", "▁", "<0x0A>"], gguf.Texts("texts")!);
        Assert.Equal([3, -3], gguf.Integers("i32s")!);
        Assert.Equal([7, 65535], gguf.Integers("u16s")!);
        Assert.Equal([1, -1], gguf.Integers("i8s")!);
        Assert.Equal([1.5f, float.NaN, float.NegativeInfinity], gguf.Reals("f32s")!);

        Assert.Null(gguf.Integer("none"));
        Assert.Null(gguf.Real("none"));
        Assert.Null(gguf.Flag("none"));
        Assert.Null(gguf.Text("none"));
        Assert.Null(gguf.Texts("none"));
        Assert.Null(gguf.Integers("none"));

        foreach (Action wrong in (Action[])[
            () => gguf.Integer("text"), () => gguf.Integer("u64"), () => gguf.Integer("f32"), () => gguf.Integer("i32s"),
            () => gguf.Text("u8"), () => gguf.Flag("u8"), () => gguf.Texts("i32s"), () => gguf.Integers("u32s"), () => gguf.Integers("texts"),
            () => gguf.Reals("f64s"), () => gguf.Real("text"), () => gguf.Real("yes"), () => gguf.Integer("yes")])
            Assert.Throws<InvalidDataException>(wrong);
    }

    [Fact]
    public unsafe void Tensors_of_every_format_come_back()
    {
        List<NewGgufTensor> tensors = [];
        Dictionary<string, byte[]> expected = [];
        foreach (NumberFormat format in Enum.GetValues<NumberFormat>())
        {
            byte[] bytes = new byte[format.Bytes(512) * 3];
            new Random((int)format).NextBytes(bytes);
            expected.Add($"t.{format}", bytes);
            tensors.Add(new NewGgufTensor($"t.{format}", format, [3, 512], stream => stream.Write(bytes)));
        }
        byte[] cube = [.. Enumerable.Range(0, 2 * 3 * 5 * 4).Select(i => (byte)i)];
        tensors.Add(new NewGgufTensor("cube", NumberFormat.F32, [2, 3, 5], stream => stream.Write(cube)));
        Gguf.Write(InFolder("a.gguf"), [], tensors);

        using Gguf gguf = Gguf.Open(InFolder("a.gguf"));
        Assert.Equal(tensors.Select(tensor => tensor.Name), gguf.Tensors.Keys);
        foreach ((string name, byte[] bytes) in expected)
        {
            GgufTensor tensor = gguf.Tensors[name];
            Assert.Equal([3, 512], tensor.Shape);
            Assert.Equal(bytes.Length, tensor.Bytes);
            Weight weight = gguf.Matrix(name, 3, 512);
            Assert.Equal((tensor.Format, 3, 512), (weight.Format, weight.Rows, weight.Columns));
            Assert.Equal(0, weight.Address % 32);
            Assert.Equal(bytes, new ReadOnlySpan<byte>((void*)weight.Address, bytes.Length).ToArray());
            Assert.Same(weight, gguf.Matrix(name, 3, 512));
        }
        Assert.Equal([2, 3, 5], gguf.Tensors["cube"].Shape);
        Assert.Equal(["cube"], gguf.Unused);
    }

    [Fact]
    public void Vectors_are_float32_whatever_the_file_holds_and_matrices_may_be_transposed()
    {
        using TestWeights weights = new();
        float[] numbers = [.. Enumerable.Range(0, 64).Select(i => i * 0.25f)];
        Weight weight = weights.Of(NumberFormat.F16, 1, 64, numbers), matrix = weights.Of(NumberFormat.F32, 16, 4, numbers);
        Gguf.Write(InFolder("a.gguf"), [], [
            NewGgufTensor.Of("half", weight, NumberFormat.F16, isVector: true),
            NewGgufTensor.Of("single", weight, NumberFormat.F32, isVector: true),
            NewGgufTensor.Of("small", weight, NumberFormat.Q8_0, isVector: true),
            NewGgufTensor.Of("matrix", matrix, NumberFormat.F32),
            NewGgufTensor.Of("blocks", weights.Of(NumberFormat.F32, 32, 32, [.. numbers, .. new float[960]]), NumberFormat.Q8_0),
            NewGgufTensor.Of("reversed", matrix, NumberFormat.BF16, rowOrder: row => 15 - row),
        ]);
        using Gguf gguf = Gguf.Open(InFolder("a.gguf"));
        Assert.Equal(numbers, gguf.Vector("half", 64).ToFloats());
        Assert.Equal(numbers, gguf.Vector("single", 64).ToFloats());
        Assert.Equal(NumberFormat.F32, gguf.Vector("small", 64).Format);
        Assert.InRange(gguf.Vector("small", 64).ToFloats()[^1], 15.7f, 15.8f);
        float[] turned = gguf.Matrix("matrix", 4, 16, transposed: true).ToFloats();
        for (int row = 0; row < 4; row++)
            for (int column = 0; column < 16; column++) Assert.Equal(numbers[(column * 4) + row], turned[(row * 16) + column]);
        Assert.Equal(numbers[60..64], gguf.Matrix("reversed", 16, 4).ToFloats()[..4]);
        Assert.Throws<NotSupportedException>(() => gguf.Matrix("blocks", 32, 32, transposed: true));
        Assert.Contains("[16, 4]", Assert.Throws<InvalidDataException>(() => gguf.Matrix("matrix", 4, 16)).Message,
            StringComparison.Ordinal);
        Assert.Contains("'nothing'", Assert.Throws<InvalidDataException>(() => gguf.Vector("nothing", 3)).Message,
            StringComparison.Ordinal);
        Assert.Throws<InvalidDataException>(() => gguf.Vector("matrix", 64));
    }

    [Fact]
    public void Quantised_while_written_is_quantised_row_by_row()
    {
        using TestWeights weights = new();
        float[] numbers = RandomNumbers.Of("normal", 300 * 256, seed: 1),
            importance = [.. RandomNumbers.Of("uniform", 256, seed: 2).Select(MathF.Abs)];
        Weight weight = weights.Of(NumberFormat.F32, 300, 256, numbers);
        Gguf.Write(InFolder("a.gguf"), [], [NewGgufTensor.Of("w", weight, NumberFormat.Q4_K, importance: importance)]);
        using Gguf gguf = Gguf.Open(InFolder("a.gguf"));
        byte[] row = new byte[NumberFormat.Q4_K.Bytes(256)];
        float[] expected = new float[256], found = new float[256];
        for (int i = 0; i < 300; i++)
        {
            NumberFormat.Q4_K.Narrow(numbers.AsSpan(i * 256, 256), row, importance);
            NumberFormat.Q4_K.Widen(row, expected);
            gguf.Matrix("w", 300, 256).ReadRow(i, found);
            Assert.Equal(expected, found);
        }
    }

    [Theory]
    [InlineData(19u, "IQ1_S")]
    [InlineData(31u, "Q4_0_4_4")]
    [InlineData(40u, "NVFP4")]
    public void A_type_of_ggml_that_fude_does_not_read_is_called_by_its_name(uint type, string name)
    {
        string path = File(new RawGguf { Data = 64 }.Tensor("w", type, 0, 256).ToBytes());
        Assert.Contains($"'w' is {name},", Assert.Throws<NotSupportedException>(() => Gguf.Open(path)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_real_vocabulary_is_read()
    {
        string? path = TestFolders.SharedData("llama2-tokenizer/ggml-vocab-llama-spm.gguf");
        Assert.SkipWhen(path is null, "needs shared beside the checkout");
        using Gguf gguf = Gguf.Open(path!);
        Assert.Equal("llama", gguf.Text("general.architecture"));
        Assert.Equal(4096, gguf.Integer("llama.embedding_length"));
        Assert.Equal(1e-5f, gguf.Real("llama.attention.layer_norm_rms_epsilon"));
        string[] tokens = gguf.Texts("tokenizer.ggml.tokens")!;
        Assert.Equal((32000, "<unk>", "<0x41>", "▁"), (tokens.Length, tokens[0], tokens[3 + 0x41], tokens[29871]));
        Assert.Equal((32000, -1f), (gguf.Reals("tokenizer.ggml.scores")!.Length, gguf.Reals("tokenizer.ggml.scores")![260]));
        Assert.Equal([2, 3, 3, 6], gguf.Integers("tokenizer.ggml.token_type")![..4]);
        Assert.Empty(gguf.Tensors);
    }

    private static byte[] Small()
    {
        RawGguf raw = new() { Data = 64 + 192 };
        return raw.Entry("general.architecture", 8, "llama").Entry("general.name", 8, "小さい").Entry("x.count", 4, 7u)
            .Entry("x.flag", 7, (byte)1).Entry("x.texts", 9, 8u, 2ul, "a", "▁い").Entry("x.nested", 9, 9u, 1ul, 5u, 1ul, -4)
            .Tensor("norm", 0, 0, 16).Tensor("w", 8, 64, 32, 2).Tensor("v", 30, 160, 8, 3).ToBytes();
    }

    [Fact]
    public void A_file_made_by_hand_is_read()
    {
        using Gguf gguf = Gguf.Open(File(Small()));
        Assert.Equal(["a", "▁い"], gguf.Texts("x.texts")!);
        Assert.Equal([2, 32], gguf.Tensors["w"].Shape);
        Assert.Equal(16, gguf.Vector("norm", 16).Columns);
        Assert.Equal(2 * 34, gguf.Matrix("w", 2, 32).Bytes);
        Assert.Equal(48, gguf.Tensors["v"].Bytes);
    }

    [Fact]
    public void A_file_cut_off_anywhere_is_an_error()
    {
        byte[] bytes = Small();
        int needed = bytes.Length - (64 + 192) + 160 + 48;
        for (int length = 0; length < needed; length++)
        {
            string path = File(bytes[..length]);
            Assert.Throws<InvalidDataException>(() => Gguf.Open(path).Dispose());
        }
        Gguf.Open(File(bytes[..needed])).Dispose();
    }

    [Fact]
    public void Damaged_files_give_errors_and_nothing_else()
    {
        byte[] good = Small();
        Random random = new(20240301);
        int opened = 0;
        for (int round = 0; round < 1200; round++)
        {
            byte[] bytes = [.. good];
            for (int change = random.Next(1, 4); change > 0; change--)
            {
                int at = random.Next(bytes.Length - 200);
                switch (random.Next(4))
                {
                    case 0: bytes[at] ^= (byte)(1 << random.Next(8)); break;
                    case 1: bytes[at] = (byte)random.Next(256); break;
                    case 2: bytes.AsSpan(at, random.Next(1, 9)).Fill(0xFF); break;
                    default: bytes.AsSpan(at, random.Next(1, 9)).Clear(); break;
                }
            }
            string path = File(bytes);
            try
            {
                using Gguf gguf = Gguf.Open(path);
                foreach (GgufTensor tensor in gguf.Tensors.Values)
                {
                    if (tensor.Shape.Count == 1) _ = gguf.Vector(tensor.Name, (int)tensor.Shape[0]).ToFloats();
                    else if (tensor.Shape.Count == 2) _ = gguf.Matrix(tensor.Name, (int)tensor.Shape[0], (int)tensor.Shape[1]).ToFloats();
                }
                opened++;
            }
            catch (Exception error) when (error is InvalidDataException or NotSupportedException)
            {
                Assert.Contains(path, error.Message, StringComparison.Ordinal);
            }
        }
        Assert.InRange(opened, 60, 1140);
    }

    private static readonly ulong Huge = 1ul << 62;

    private static readonly Dictionary<string, Func<byte[]>> Hostile = new()
    {
        ["another file"] = () => "PK\x03\x04 and so on"u8.ToArray(),
        ["more entries than there are"] = () => new RawGguf { EntryCount = ulong.MaxValue }.Entry("a", 4, 1u).ToBytes(),
        ["more tensors than there are"] = () => new RawGguf { TensorCount = ulong.MaxValue, Data = 64 }.Tensor("a", 0, 0, 16).ToBytes(),
        ["a key of 2^62 bytes"] = () => new RawGguf { EntryCount = 1 }.Entry("x", 4).ToBytes() is byte[] b ? Patch(b, 24, Huge) : [],
        ["a text of 2^62 bytes"] = () => new RawGguf().Entry("a", 8, Huge, new byte[8]).ToBytes(),
        ["a text of 2^64 - 1 bytes"] = () => new RawGguf().Entry("a", 8, ulong.MaxValue, new byte[8]).ToBytes(),
        ["an array of 2^62 bytes"] = () => new RawGguf().Entry("a", 9, 0u, Huge).ToBytes(),
        ["an array of 2^62 numbers of 8 bytes"] = () => new RawGguf().Entry("a", 9, 12u, Huge).ToBytes(),
        ["an array of 2^61 + 1 numbers of 8 bytes, whose size overflows"] = () =>
            new RawGguf().Entry("a", 9, 10u, (1ul << 61) + 1).ToBytes(),
        ["an array of 2^62 texts"] = () => new RawGguf().Entry("a", 9, 8u, Huge).ToBytes(),
        ["an array of 2^62 arrays"] = () => new RawGguf().Entry("a", 9, 9u, Huge).ToBytes(),
        ["arrays nested a thousand deep"] = () =>
            new RawGguf().Entry("a", 9, [.. Enumerable.Range(0, 1000).SelectMany(_ => new object[] { 9u, 1ul }), 0u, 0ul]).ToBytes(),
        ["an array of an unknown type"] = () => new RawGguf().Entry("a", 9, 13u, 0ul).ToBytes(),
        ["a value of an unknown type"] = () => new RawGguf().Entry("a", 13, 0ul).ToBytes(),
        ["a truth value of 2"] = () => new RawGguf().Entry("a", 7, (byte)2).ToBytes(),
        ["truth values of 2"] = () => new RawGguf().Entry("a", 9, 7u, 1ul, (byte)2).ToBytes(),
        ["a text that is not UTF-8"] = () => new RawGguf().Entry("a", 8, 2ul, new byte[] { 0xE3, 0x81 }).ToBytes(),
        ["half a surrogate pair"] = () => new RawGguf().Entry("a", 8, 3ul, new byte[] { 0xED, 0xA0, 0x80 }).ToBytes(),
        ["a key twice"] = () => new RawGguf().Entry("a", 4, 1u).Entry("a", 4, 1u).ToBytes(),
        ["an empty key"] = () => new RawGguf().Entry("", 4, 1u).ToBytes(),
        ["a tensor twice"] = () => new RawGguf { Data = 128 }.Tensor("a", 0, 0, 8).Tensor("a", 0, 32, 8).ToBytes(),
        ["a tensor without a name"] = () => new RawGguf { Data = 128 }.Tensor("", 0, 0, 8).ToBytes(),
        ["a tensor without dimensions"] = () => new RawGguf { Data = 128 }.Tensor("a", 0, 0).ToBytes(),
        ["a tensor of five dimensions"] = () => new RawGguf { Data = 128 }.Tensor("a", 0, 0, 1, 1, 1, 1, 1).ToBytes(),
        ["a tensor without numbers"] = () => new RawGguf { Data = 128 }.Tensor("a", 0, 0, 0).ToBytes(),
        ["a tensor of 2^63 numbers"] = () => new RawGguf { Data = 128 }.Tensor("a", 0, 0, 1ul << 63).ToBytes(),
        ["dimensions whose product is 0 in 64 bits"] = () => new RawGguf { Data = 128 }.Tensor("a", 0, 0, 1ul << 32, 1ul << 32).ToBytes(),
        ["dimensions whose product is small in 64 bits"] = () =>
            new RawGguf { Data = 128 }.Tensor("a", 0, 0, (1ul << 32) + 1, (1ul << 32) - 1, 3, 5).ToBytes(),
        ["rows that are not whole blocks"] = () => new RawGguf { Data = 128 }.Tensor("a", 8, 0, 33).ToBytes(),
        ["an unknown tensor type"] = () => new RawGguf { Data = 128 }.Tensor("a", 99, 0, 32).ToBytes(),
        ["an offset that is not aligned"] = () => new RawGguf { Data = 128 }.Tensor("a", 0, 8, 8).ToBytes(),
        ["an offset beyond the file"] = () => new RawGguf { Data = 128 }.Tensor("a", 0, 1024, 8).ToBytes(),
        ["an offset of 2^63"] = () => new RawGguf { Data = 128 }.Tensor("a", 0, 1ul << 63, 8).ToBytes(),
        ["an offset whose end overflows"] = () => new RawGguf { Data = 128 }.Tensor("a", 0, long.MaxValue - 31, 16).ToBytes(),
        ["tensors that overlap"] = () => new RawGguf { Data = 128 }.Tensor("a", 0, 0, 16).Tensor("b", 0, 32, 16).ToBytes(),
        ["a tensor that ends beyond the file"] = () => new RawGguf { Data = 127 }.Tensor("a", 0, 0, 32).ToBytes(),
        ["an alignment of 0"] = () => new RawGguf().Entry("general.alignment", 4, 0u).ToBytes(),
        ["an alignment of 48"] = () => new RawGguf().Entry("general.alignment", 4, 48u).ToBytes(),
        ["an alignment of 1"] = () => new RawGguf().Entry("general.alignment", 4, 1u).ToBytes(),
        ["an alignment of 2^31"] = () => new RawGguf().Entry("general.alignment", 4, 1u << 31).ToBytes(),
        ["an alignment that is a text"] = () => new RawGguf().Entry("general.alignment", 8, "32").ToBytes(),
        ["a split into -1 files"] = () => new RawGguf().Entry("split.count", 5, -1).ToBytes(),
        ["a split whose number is a text"] = () => new RawGguf().Entry("split.count", 5, 2).Entry("split.no", 8, "0").ToBytes(),
        ["a split named otherwise"] = () => new RawGguf().Entry("split.count", 5, 2).Entry("split.no", 5, 0).ToBytes(),
    };

    public static TheoryData<string> HostileNames() => new(Hostile.Keys);

    [Theory, MemberData(nameof(HostileNames))]
    public void Hostile_files_are_refused(string what)
    {
        string path = File(Hostile[what]());
        long before = GC.GetAllocatedBytesForCurrentThread();
        InvalidDataException error = Assert.Throws<InvalidDataException>(() => Gguf.Open(path).Dispose());
        Assert.Contains(path, error.Message, StringComparison.Ordinal);
        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, 1_000_000);
    }

    private static byte[] Patch(byte[] bytes, int at, ulong value)
    {
        BitConverter.TryWriteBytes(bytes.AsSpan(at), value);
        return bytes;
    }

    [Theory]
    [InlineData(1u, "version 1")]
    [InlineData(4u, "version 4")]
    [InlineData(0x03000000u, "big-endian")]
    public void Other_versions_are_not_supported(uint version, string expected)
    {
        string path = File(new RawGguf { Version = version }.ToBytes());
        Assert.Contains(expected, Assert.Throws<NotSupportedException>(() => Gguf.Open(path)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Other_quantisations_are_named()
    {
        string path = File(new RawGguf { Data = 128 }.Tensor("a", 16, 0, 256).ToBytes());
        string message = Assert.Throws<NotSupportedException>(() => Gguf.Open(path)).Message;
        Assert.Contains("IQ2_XXS", message, StringComparison.Ordinal);
        Assert.Contains("Q4_K", message, StringComparison.Ordinal);
    }

    [Fact]
    public void Another_alignment_is_followed()
    {
        byte[] bytes = new RawGguf { Data = 128 }.Entry("general.alignment", 4, 64u).Tensor("a", 0, 64, 4).ToBytes(alignment: 64);
        using Gguf gguf = Gguf.Open(File(bytes));
        Assert.Equal(BitConverter.ToSingle(bytes, bytes.Length - 64), gguf.Vector("a", 4).ToFloats()[0]);
    }

    private void WriteSplit(int number, int count, string name, string? fileName = null, int? announced = null)
    {
        float[] numbers = [number, number, number, number];
        List<KeyValuePair<string, object>> metadata = [
            new("split.no", (ushort)number), new("split.count", (ushort)count), new("split.tensors.count", announced ?? count)];
        if (number == 0) metadata.Add(new("general.architecture", "llama"));
        Gguf.Write(InFolder(fileName ?? $"m-{number + 1:D5}-of-{count:D5}.gguf"), metadata,
            [new NewGgufTensor(name, NumberFormat.F32, [4], stream =>
                stream.Write(System.Runtime.InteropServices.MemoryMarshal.AsBytes<float>(numbers)))]);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void A_model_in_several_files_is_found_from_each_of_them(int named)
    {
        for (int i = 0; i < 3; i++) WriteSplit(i, 3, $"t{i}");
        using Gguf gguf = Gguf.Open(InFolder($"m-{named:D5}-of-00003.gguf"));
        Assert.Equal("llama", gguf.Text("general.architecture"));
        Assert.Equal(3, gguf.Tensors.Count);
        for (int i = 0; i < 3; i++) Assert.Equal(i, gguf.Vector($"t{i}", 4).ToFloats()[0]);
    }

    [Fact]
    public void A_model_of_which_a_file_is_missing_or_doubtful_is_refused()
    {
        string first = InFolder("m-00001-of-00003.gguf");
        WriteSplit(0, 3, "t0");
        WriteSplit(1, 3, "t1");
        Assert.Contains("m-00003-of-00003.gguf", Assert.Throws<InvalidDataException>(() => Gguf.Open(first)).Message,
            StringComparison.Ordinal);
        WriteSplit(2, 3, "t1");
        Assert.Contains("'t1'", Assert.Throws<InvalidDataException>(() => Gguf.Open(first)).Message, StringComparison.Ordinal);
        WriteSplit(1, 3, "t2", "m-00003-of-00003.gguf");
        Assert.Contains("number 2", Assert.Throws<InvalidDataException>(() => Gguf.Open(first)).Message, StringComparison.Ordinal);
        WriteSplit(2, 4, "t2", "m-00003-of-00003.gguf");
        Assert.Contains("not of the same model", Assert.Throws<InvalidDataException>(() => Gguf.Open(first)).Message,
            StringComparison.Ordinal);
        WriteSplit(2, 3, "t2");
        Gguf.Open(first).Dispose();
        WriteSplit(0, 3, "t0", announced: 5);
        Assert.Contains("5 are announced", Assert.Throws<InvalidDataException>(() => Gguf.Open(first)).Message, StringComparison.Ordinal);
        System.IO.File.Move(first, InFolder("other.gguf"));
        Assert.Contains("m", Assert.Throws<InvalidDataException>(() => Gguf.Open(InFolder("other.gguf"))).Message,
            StringComparison.Ordinal);
    }

    [Fact]
    public void A_file_that_is_not_there_is_said_not_to_be() =>
        Assert.Throws<FileNotFoundException>(() => Gguf.Open(InFolder("nothing.gguf")));

    [Fact]
    public void Gguf_files_are_known_by_their_first_letters()
    {
        Assert.True(Gguf.IsGguf(File(Small())));
        Assert.False(Gguf.IsGguf(File("GGU"u8.ToArray(), "short")));
        Assert.False(Gguf.IsGguf(File("GGML...."u8.ToArray(), "other")));
    }
}
