using System.Buffers.Binary;
using System.Text;
using Fude.TestData;

namespace Fude.Tensors.Tests;

public sealed class PyTorchFileTests : IDisposable
{
    private static readonly byte[] Six = [.. Enumerable.Range(0, 6).SelectMany(i => BitConverter.GetBytes((float)i))];
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void Views_of_one_storage_keep_their_own_shapes_and_strides()
    {
        using PyTorchFile file = Open(Archive(Views(PickleBuilder.Protocol(2)), ("0", Six)));
        CheckViews(file);
        // Tied weights, saved once, are one place in memory.
        Assert.Equal(file.Tensors["whole"].Address, file.Tensors["tied"].Address);
    }

    [Fact]
    public void Archives_may_be_zip64_have_a_comment_and_no_folder()
    {
        byte[] pickle = Views(PickleBuilder.Protocol(2));
        foreach (ZipBuilder zip in (ZipBuilder[])[new() { IsZip64 = true }, new() { Comment = "made by hand PK\x05\x06" }])
        {
            using PyTorchFile file = Open(zip.Add("archive/data.pkl", pickle).Add("archive/byteorder", "little"u8.ToArray()).Add("archive/data/0", Six).Build());
            CheckViews(file);
        }
        using PyTorchFile flat = Open(new ZipBuilder().Add("data.pkl", pickle).Add("data/0", Six).Build());
        CheckViews(flat);
    }

    [Fact]
    public void Newer_protocols_are_read()
    {
        // OrderedDict through STACK_GLOBAL and MEMOIZE, its state (module versions) through BUILD, a parameter around a tensor.
        PickleBuilder pickle = PickleBuilder.Protocol(4).Raw(0x95, 0, 0, 0, 0, 0, 0, 0, 0)
            .Raw(0x8c, 11).Op("collections").Raw(0x94, 0x8c, 11).Op("OrderedDict").Raw(0x94, 0x93, 0x94).Op(")R").Raw(0x94)
            .Raw(0x8c, 1).Op("w").Raw(0x94)
            .Global("torch._utils", "_rebuild_parameter").Op("(").Tensor("FloatStorage", "0", 6, 0, [2, 3], [3, 1]).Op("\x88").Raw((byte)'h', 2).Op(")RtRs")
            .Op("}").Text("_metadata").Raw((byte)'h', 2).Op(")R").Op("sb");
        using PyTorchFile file = Open(Archive(pickle.Stop(), ("0", Six)));
        Assert.Equal([0, 1, 2, 3, 4, 5], Assert.Single(file.Tensors).Value.ToFloats());
    }

    [Fact]
    public void Files_from_before_PyTorch_1_6_are_read()
    {
        using PyTorchFile file = Open(Legacy());
        CheckViews(file);
        using Checkpoint checkpoint = Checkpoint.Open(_folder.Write("old.bin", Legacy()));
        Weight matrix = checkpoint.Matrix("whole", 2, 3);
        Assert.Equal(0, matrix.Address % 4);
        Assert.Equal([0, 1, 2, 3, 4, 5], matrix.ToFloats());
    }

    [Theory]
    [InlineData("DoubleStorage", 8, ElementType.F64), InlineData("FloatStorage", 4, ElementType.F32), InlineData("HalfStorage", 2, ElementType.F16)]
    [InlineData("BFloat16Storage", 2, ElementType.BF16), InlineData("LongStorage", 8, ElementType.I64), InlineData("IntStorage", 4, ElementType.I32)]
    [InlineData("ShortStorage", 2, ElementType.I16), InlineData("CharStorage", 1, ElementType.I8), InlineData("ByteStorage", 1, ElementType.U8)]
    [InlineData("BoolStorage", 1, ElementType.Bool)]
    public void Every_storage_has_its_type(string storage, int size, ElementType type)
    {
        byte[] pickle = PickleBuilder.Protocol(2).Op("}").Text("a").Tensor(storage, "x", 3, 1, [2], [1]).Op("s").Stop();
        using PyTorchFile file = Open(Archive(pickle, ("x", new byte[3 * size])));
        Assert.Equal(type, file.Tensors["a"].Type);
        Assert.Equal([0, 0], file.Tensors["a"].ToFloats());
    }

    public static TheoryData<string, byte[]> Attacks()
    {
        PickleBuilder start() => PickleBuilder.Protocol(2).Op("}").Text("w");
        return new()
        {
            { "os.system", start().Global("os", "system").Op("(").Text("touch owned").Op("tRs").Stop() },
            { "posix.system", start().Global("posix", "system").Op("(").Text("touch owned").Op("tRs").Stop() },
            { "builtins.eval", PickleBuilder.Protocol(4).Raw(0x8c, 8).Op("builtins").Raw(0x8c, 4).Op("eval").Raw(0x93).Op("(").Text("1").Op("tR").Stop() },
            { "subprocess.Popen", PickleBuilder.Protocol(0).Op("(S'ls'\nisubprocess\nPopen\n").Stop() },
            { "subprocess.Popen", PickleBuilder.Protocol(0).Op("(isubprocess\nPopen\n").Stop() },
            { "torch.load", start().Global("torch", "load").Op("(").Text("other.bin").Op("tRs").Stop() },
            { "torch._utils.os.system", start().Global("torch._utils", "os.system").Op("(tRs").Stop() },
            { "collections.OrderedDict.__init__.__globals__", start().Global("collections", "OrderedDict.__init__.__globals__").Op("s").Stop() },
            { "copyreg._reconstructor", start().Global("copyreg", "_reconstructor").Op("(tRs").Stop() },
            { "a?b.c", start().Op("ca\x1b" + "b\nc\n").Op("s").Stop() },
        };
    }

    [Theory, MemberData(nameof(Attacks))]
    public void A_pickle_that_asks_for_anything_else_is_refused_by_name(string name, byte[] pickle)
    {
        InvalidDataException error = Assert.Throws<InvalidDataException>(() => Open(Archive(pickle)));
        Assert.Contains(_folder["test.bin"], error.Message, StringComparison.Ordinal);
        // INST after an instruction that no file of tensors has stops there; every other refusal names what was asked for.
        if (!Encoding.Latin1.GetString(pickle).Contains("S'ls'", StringComparison.Ordinal)) Assert.Contains($"'{name}'", error.Message, StringComparison.Ordinal);
        Assert.False(File.Exists("owned"));
    }

    public static TheoryData<string, byte[]> Bombs()
    {
        PickleBuilder start() => PickleBuilder.Protocol(2);
        byte[] many(byte instruction, int count) => [.. Enumerable.Repeat(instruction, count)];
        return new()
        {
            { "marks without end", start().Raw(many((byte)'(', 1_000_000)).Stop() },
            { "a stack without end", start().Raw(many((byte)']', 1_000_000)).Stop() },
            { "instructions without end", start().Raw([.. Enumerable.Repeat("]0"u8.ToArray(), 3_000_000).SelectMany(x => x)]).Stop() },
            { "lists in lists", start().Raw(many((byte)']', 150_000)).Raw(many((byte)'a', 149_999)).Stop() },
            { "a list in itself", start().Op("]").Raw((byte)'q', 0, (byte)'h', 0, (byte)'a').Stop() },
            { "a dictionary in itself", start().Op("}").Raw((byte)'q', 0).Text("x").Raw((byte)'h', 0, (byte)'s').Stop() },
            { "doubling, 2^100 leaves", start().Op("]q\0").Raw([.. Enumerable.Repeat("0](h\0h\0eq\0"u8.ToArray(), 100).SelectMany(x => x)]).Stop() },
            { "a huge LONG4", start().Raw(0x8b, 0xFF, 0xFF, 0xFF, 0x7F).Stop() },
            { "a negative LONG4", start().Raw(0x8b, 0xFF, 0xFF, 0xFF, 0xFF).Stop() },
            { "a long LONG4", start().Raw(0x8b, 0x00, 0x10, 0, 0).Raw(many(7, 4096)).Stop() },
            { "a huge text", start().Raw((byte)'X', 0xFF, 0xFF, 0xFF, 0xFF).Stop() },
            { "a text beyond 63 bits", start().Raw(0x8d, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF).Stop() },
            { "bytes beyond 32 bits", start().Raw(0x8e, 0, 0, 0, 0, 1, 0, 0, 0).Stop() },
            { "a line without end", start().Op("Ix") .Raw(many((byte)'1', 100_000)).Stop()[..^1] },
            { "a number of many digits", start().Op("L").Raw(many((byte)'9', 100_000)).Op("L\n").Stop() },
            { "a memo that is not there", start().Raw((byte)'j', 0xFF, 0xFF, 0xFF, 0xFF).Stop() },
            { "a memo far away", start().Op("N").Raw((byte)'r', 0xFF, 0xFF, 0xFF, 0xFF).Stop() },
            { "a memo without a number", start().Op("Np-1\n").Stop() },
            { "nothing to pop", start().Op("0").Stop() },
            { "nothing to keep", start().Raw(0x94).Stop() },
            { "a pop below the mark", start().Op("N(R").Stop() },
            { "a tuple without a mark", start().Op("t").Stop() },
            { "items for no list", start().Op("N(Ne").Stop() },
            { "a key without a value", start().Op("}(Nu").Stop() },
            { "nothing at all", start().Stop() },
            { "no end", start().Op("N").Stop()[..^1] },
            { "more than one result", start().Op("NN").Stop() },
            { "a mark left over", start().Op("N(").Stop() },
            { "a call of a text", start().Text("os.system").Op(")R").Stop() },
            { "a call without arguments", start().Global("torch._utils", "_rebuild_tensor_v2").Op(")R").Stop() },
            { "a storage that is called", start().Global("torch", "FloatStorage").Op(")R").Stop() },
            { "state for a tensor", start().Op("}").Text("w").Tensor("FloatStorage", "0", 6, 0, [6], [1]).Op("}bs").Stop() },
            { "an extension", start().Raw(0x82, 1).Stop() },
            { "a buffer out of band", start().Raw(0x97).Stop() },
            { "a text that is not UTF-8", start().Raw((byte)'X', 1, 0, 0, 0, 0xFF).Stop() },
            { "a name that is no text", start().Op("}NNs").Stop() },
            { "a list for a dictionary", start().Op("]").Stop() },
            { "a storage of another name", start().Op("(").Text("module").Global("torch", "FloatStorage").Text("0").Text("cpu").Int(6).Op("tQ").Stop() },
            { "a storage of negative size", start().Op("(").Text("storage").Global("torch", "FloatStorage").Text("0").Text("cpu").Int(-6).Op("tQ").Stop() },
            { "65 dimensions", start().Op("}").Text("w").Tensor("FloatStorage", "0", 6, 0, new long[65], new long[65]).Op("s").Stop() },
            { "one tensor twice", start().Op("}").Text("w").Tensor("FloatStorage", "0", 6, 0, [6], [1]).Op("s").Text("w").Tensor("FloatStorage", "0", 6, 0, [6], [1]).Op("s").Stop() },
        };
    }

    [Theory, MemberData(nameof(Bombs))]
    public void A_pickle_that_is_not_one_of_tensors_is_an_error(string what, byte[] pickle)
    {
        Exception? error = Record.Exception(() => Open(Archive(pickle, ("0", Six))));
        Assert.True(error is InvalidDataException or NotSupportedException, $"{what}: {error}");
        Assert.StartsWith(_folder["test.bin"], error.Message, StringComparison.Ordinal);
    }

    public static TheoryData<long, long, long[], long[]> BadViews() => new()
    {
        { 6, 0, [7], [1] },
        { 6, 1, [6], [1] },
        { 6, 6, [1], [1] },
        { 6, 7, [0], [1] },
        { 6, -1, [2], [1] },
        { 6, 0, [2, 3], [1] },
        { 6, 0, [2, 3], [4, 1] },
        { 6, 0, [-2], [1] },
        { 6, 0, [2], [-1] },
        { 6, 0, [2], [long.MaxValue] },
        { 6, long.MaxValue, [2], [1] },
        { 6, 0, [long.MaxValue], [long.MaxValue] },
        { 6, 0, [1L << 32, 1L << 32], [1, 1] },
        { 6, 0, [1L << 32, 1L << 32], [0, 0] },
        { 6, 0, [3, 3], [1L << 62, 1L << 62] },
        { 5, 0, [5], [1] },                             // the entry has 24 bytes
        { 7, 0, [6], [1] },
        { long.MaxValue / 4, 0, [6], [1] },
        { long.MaxValue, 0, [6], [1] },
    };

    [Theory, MemberData(nameof(BadViews))]
    public void A_tensor_outside_its_storage_is_an_error(long count, long offset, long[] shape, long[] strides)
    {
        byte[] pickle = PickleBuilder.Protocol(2).Op("}").Text("w").Tensor("FloatStorage", "0", count, offset, shape, strides).Op("s").Stop();
        Assert.Throws<InvalidDataException>(() => Open(Archive(pickle, ("0", Six))));
    }

    [Fact]
    public void A_stride_of_0_does_not_make_memory_out_of_nothing()
    {
        byte[] pickle = PickleBuilder.Protocol(2).Op("}").Text("w").Tensor("FloatStorage", "0", 6, 0, [1 << 30, 1 << 30], [0, 0]).Op("s").Stop();
        using Checkpoint checkpoint = Checkpoint.Open(_folder.Write("repeated.bin", Archive(pickle, ("0", Six))));
        Assert.Throws<InvalidDataException>(() => checkpoint.Matrix("w", 1 << 30, 1 << 30));
        Assert.Throws<NotSupportedException>(() => checkpoint.Tensors["w"].ToFloats());
        Assert.Throws<InvalidDataException>(() => SafeTensors.Write(_folder["w.safetensors"],
            [NewTensor.Of(checkpoint.Tensors["w"]) with { Shape = [2] }]));
    }

    [Theory]
    [InlineData(3, 4, 1, 1)]
    [InlineData(4, 2, 1, 2)]
    [InlineData(2, 4, 2, 1)]
    public void Nor_do_strides_that_meet_the_same_numbers_again(long rows, long columns, long rowStride, long columnStride)
    {
        byte[] pickle = PickleBuilder.Protocol(2).Op("}").Text("w")
            .Tensor("FloatStorage", "0", 6, 0, [rows, columns], [rowStride, columnStride]).Op("s").Stop();
        using Checkpoint checkpoint = Checkpoint.Open(_folder.Write("overlapping.bin", Archive(pickle, ("0", Six))));
        string message = Assert.Throws<InvalidDataException>(() => checkpoint.Matrix("w", (int)rows, (int)columns)).Message;
        Assert.Contains($"[{rowStride}, {columnStride}]", message, StringComparison.Ordinal);
        Assert.Throws<InvalidDataException>(() => checkpoint.Tensors["w"].ToFloats());
    }

    [Fact]
    public void Unsuitable_archives_are_errors()
    {
        byte[] pickle = Views(PickleBuilder.Protocol(2));
        Bad<NotSupportedException>(new ZipBuilder { Method = 8 }.Add("a/data.pkl", pickle).Build(), "compressed");
        Bad<NotSupportedException>(new ZipBuilder { Flags = 1 }.Add("a/data.pkl", pickle).Build(), "encrypted");
        Bad<NotSupportedException>(new ZipBuilder().Add("a/data.pkl", pickle).Add("a/constants.pkl", []).Build(), "TorchScript");
        Bad<NotSupportedException>(new ZipBuilder().Add("a/data.pkl", pickle).Add("a/byteorder", "big"u8.ToArray()).Build(), "big-endian");
        Bad<InvalidDataException>(new ZipBuilder().Add("a/data.pkl", pickle).Add("b/data.pkl", pickle).Build(), "one data.pkl");
        Bad<InvalidDataException>(new ZipBuilder().Add("a/data.pkl", pickle).Add("a/data.pkl", pickle).Build(), "two files");
        Bad<InvalidDataException>(new ZipBuilder().Add("a/version", []).Build(), "one data.pkl");
        Bad<InvalidDataException>(new ZipBuilder().Build(), "this one has 0");
        Bad<InvalidDataException>(Archive(pickle), "storage '0' is not in the archive");
        Bad<InvalidDataException>(Archive(pickle, ("0", Six[..^1])), "23 bytes");
        Bad<InvalidDataException>(Archive(new byte[Unpickler.MaxBytes + 1]), "data.pkl has");
        Bad<InvalidDataException>("PKnothing"u8.ToArray(), "cut off");
        Bad<InvalidDataException>([], "empty");
        Bad<InvalidDataException>("GGUF and so on"u8.ToArray(), "not a file of torch.save");
        Bad<NotSupportedException>(Archive(PickleBuilder.Protocol(2).Op("}").Text("epoch").Int(3).Op("s").Stop()), "'epoch' is not a tensor");
        Bad<NotSupportedException>(Archive(PickleBuilder.Protocol(6).Op("}").Stop()), "protocol 6");
    }

    [Theory, InlineData(false), InlineData(true)]
    public void An_archive_cut_off_anywhere_is_an_error(bool zip64)
    {
        byte[] whole = Sample(zip64);
        for (int length = 0; length < whole.Length; length += length > 200 && length < whole.Length - 50 ? 41 : 1)
            Bad<InvalidDataException>(whole[..length], "");
    }

    [Fact]
    public void An_old_file_cut_off_anywhere_is_an_error()
    {
        byte[] whole = Legacy();
        for (int length = 0; length < whole.Length; length += length < 200 ? 1 : 5) Bad<InvalidDataException>(whole[..length], "");
    }

    [Theory, InlineData(0), InlineData(1), InlineData(2)]
    public void Random_damage_gives_errors_or_tensors_inside_the_file(int kind)
    {
        byte[] whole = kind == 2 ? Legacy() : Sample(zip64: kind == 1);
        Random random = new(4000 + kind);
        int opened = 0;
        for (int round = 0; round < 250; round++)
        {
            byte[] damaged = [.. whole];
            for (int i = random.Next(1, 4); i > 0; i--)
            {
                int place = random.Next(damaged.Length);
                damaged[place] = random.Next(3) switch { 0 => (byte)(damaged[place] ^ (1 << random.Next(8))), 1 => 0xFF, _ => (byte)random.Next(256) };
            }
            try
            {
                using PyTorchFile file = Open(damaged);
                foreach (StoredTensor tensor in file.Tensors.Values) _ = tensor.ToFloats();
                opened++;
            }
            catch (Exception error) when (error is InvalidDataException or NotSupportedException)
            {
                Assert.Contains("test.bin", error.Message, StringComparison.Ordinal);
            }
        }
        Assert.InRange(opened, 1, 249);
    }

    private PyTorchFile Open(byte[] bytes) => PyTorchFile.Open(_folder.Write("test.bin", bytes));

    private void Bad<T>(byte[] bytes, string part)
        where T : Exception
    {
        T error = Assert.Throws<T>(() => Open(bytes));
        Assert.StartsWith(_folder["test.bin"], error.Message, StringComparison.Ordinal);
        Assert.Contains(part, error.Message, StringComparison.Ordinal);
    }

    private static byte[] Archive(byte[] pickle, params (string Key, byte[] Data)[] storages)
    {
        ZipBuilder zip = new ZipBuilder().Add("archive/data.pkl", pickle);
        foreach ((string key, byte[] data) in storages) _ = zip.Add($"archive/data/{key}", data);
        return zip.Build();
    }

    // The last page is full, so that reading beyond the end would fault.
    private static byte[] Sample(bool zip64)
    {
        byte[] pickle = Views(PickleBuilder.Protocol(2));
        ZipBuilder zip(string comment) =>
            new ZipBuilder { IsZip64 = zip64, Comment = comment }.Add("archive/data.pkl", pickle).Add("archive/data/0", Six).Add("archive/version", "3\n"u8.ToArray());
        return zip(new string('x', 4096 - (zip("").Build().Length % 4096))).Build();
    }

    private static byte[] Views(PickleBuilder pickle, bool legacy = false)
    {
        pickle.Op("}(");
        pickle.Text("whole").Tensor("FloatStorage", "0", 6, 0, [2, 3], [3, 1], legacy);
        pickle.Text("tied").Tensor("FloatStorage", "0", 6, 0, [2, 3], [3, 1], legacy);
        pickle.Text("transposed").Tensor("FloatStorage", "0", 6, 0, [3, 2], [1, 3], legacy);
        pickle.Text("column").Tensor("FloatStorage", "0", 6, 1, [2], [3], legacy);
        pickle.Text("last").Tensor("FloatStorage", "0", 6, 5, [], [], legacy);
        pickle.Text("none").Tensor("FloatStorage", "0", 6, 6, [0, 4], [4, 1], legacy);
        return pickle.Op("u").Stop();
    }

    private static void CheckViews(PyTorchFile file)
    {
        Assert.Equal([0, 1, 2, 3, 4, 5], file.Tensors["whole"].ToFloats());
        Assert.Equal([0, 1, 2, 3, 4, 5], file.Tensors["tied"].ToFloats());
        Assert.Equal([0, 3, 1, 4, 2, 5], file.Tensors["transposed"].ToFloats());
        Assert.Equal([1, 4], file.Tensors["column"].ToFloats());
        Assert.Equal([5], file.Tensors["last"].ToFloats());
        Assert.Empty(file.Tensors["none"].ToFloats());
        Assert.Equal(6, file.Tensors.Count);
    }

    // torch/serialization.py, _legacy_save: magic number, version 1001, byte order, the dictionary, the order of storages, the storages.
    private static byte[] Legacy()
    {
        byte[] count = new byte[8];
        BinaryPrimitives.WriteInt64LittleEndian(count, 6);
        return
        [
            0x80, 2, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, (byte)'.',
            .. PickleBuilder.Protocol(2).Op("M").Raw(0xE9, 0x03).Stop(),
            .. PickleBuilder.Protocol(2).Op("}(").Text("protocol_version").Op("M").Raw(0xE9, 0x03).Text("little_endian").Op("\x88").Op("u").Stop(),
            .. Views(PickleBuilder.Protocol(2), legacy: true),
            .. PickleBuilder.Protocol(2).Op("]").Text("0").Op("a").Stop(),
            .. count,
            .. Six,
        ];
    }
}
