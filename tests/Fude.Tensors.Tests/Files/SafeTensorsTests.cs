using System.Buffers.Binary;
using System.Text;
using Fude.TestData;

namespace Fude.Tensors.Tests;

public sealed class SafeTensorsTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void Every_element_type_is_read()
    {
        byte[] data = [1, 0, 7, 0xFE, 0x00, 0x3C, 0x80, 0x3F, 0, 0, 0, 0xC0, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0, 0, 0, 0xF8, 0x3F, 5, 0, 0, 0, 0, 0, 0, 0x80];
        string path = Write(
            """
            {"__metadata__":{"format":"pt","作者":"筆"},
             "truth":{"dtype":"BOOL","shape":[2],"data_offsets":[0,2]}, "byte":{"dtype":"U8","shape":[1],"data_offsets":[2,3]},
             "signed":{"dtype":"I8","shape":[1],"data_offsets":[3,4]}, "half":{"dtype":"F16","shape":[],"data_offsets":[4,6]},
             "brain":{"dtype":"BF16","shape":[1,1],"data_offsets":[6,8]}, "single":{"dtype":"F32","shape":[1],"data_offsets":[8,12]},
             "int":{"dtype":"I32","shape":[1],"data_offsets":[12,16]}, "double":{"dtype":"F64","shape":[1],"data_offsets":[16,24]},
             "long":{"dtype":"I64","shape":[1],"data_offsets":[24,32]}, "none":{"dtype":"F32","shape":[0,5],"data_offsets":[32,32]}}
            """, data);
        using SafeTensors file = SafeTensors.Open(path);
        Assert.Equal("筆", file.Metadata["作者"]);
        Assert.Equal([1, 0], file.Tensors["truth"].ToFloats());
        Assert.Equal([7], file.Tensors["byte"].ToIntegers());
        Assert.Equal([-2], file.Tensors["signed"].ToIntegers());
        Assert.Equal([1], file.Tensors["half"].ToFloats());
        Assert.Empty(file.Tensors["half"].Shape);
        Assert.Equal([1], file.Tensors["brain"].ToFloats());
        Assert.Equal([-2], file.Tensors["single"].ToFloats());
        Assert.Equal([-1], file.Tensors["int"].ToIntegers());
        Assert.Equal([1.5f], file.Tensors["double"].ToFloats());
        Assert.Equal([long.MinValue + 5], file.Tensors["long"].ToIntegers());
        Assert.Empty(file.Tensors["none"].ToFloats());
        Assert.Throws<NotSupportedException>(() => file.Tensors["single"].ToIntegers());
    }

    // Files of early writers have headers of any length: the numbers then lie anywhere.
    [Theory, InlineData(0), InlineData(1), InlineData(2), InlineData(3)]
    public void Misaligned_numbers_are_read_all_the_same(int spaces)
    {
        float[] numbers = [1, -2, 3.5f, 1e-30f, 5, 6];
        string path = Write("""{"m":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}}""" + new string(' ', spaces), Bytes(numbers));
        using Checkpoint checkpoint = Checkpoint.Open(path);
        Weight matrix = checkpoint.Matrix("m", 2, 3);
        Assert.Equal(0, matrix.Address % 4);
        Assert.Equal(numbers, matrix.ToFloats());
        Assert.Equal([1, 1e-30f, -2, 5, 3.5f, 6], checkpoint.Matrix("m", 3, 2, transposed: true).ToFloats());
    }

    public static TheoryData<string, string> BadHeaders() => new()
    {
        { "not JSON", "{" },
        { "not an object", "[]" },
        { "more than an object", "{}{}" },
        { "a comment", "{} // hello" },
        { "no shape", """{"a":{"dtype":"F32","data_offsets":[0,8]}}""" },
        { "one offset", """{"a":{"dtype":"F32","shape":[2],"data_offsets":[8]}}""" },
        { "three offsets", """{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4,8]}}""" },
        { "a text for a shape", """{"a":{"dtype":"F32","shape":"2","data_offsets":[0,8]}}""" },
        { "a number for a type", """{"a":{"dtype":32,"shape":[2],"data_offsets":[0,8]}}""" },
        { "null for a tensor", """{"a":null}""" },
        { "a fraction", """{"a":{"dtype":"F32","shape":[2.0],"data_offsets":[0,8]}}""" },
        { "an unknown key", """{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"scale":1}}""" },
        { "a key twice", """{"a":{"dtype":"F32","shape":[2],"shape":[2],"data_offsets":[0,8]}}""" },
        { "a tensor twice", """{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}""" },
        { "metadata that is no text", """{"__metadata__":{"epoch":1},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}""" },
        { "a negative size", """{"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}}""" },
        { "two negative sizes", """{"a":{"dtype":"F32","shape":[-1,-2],"data_offsets":[0,8]}}""" },
        { "a negative offset", """{"a":{"dtype":"F32","shape":[4],"data_offsets":[-8,8]}}""" },
        { "a size beyond 64 bits", """{"a":{"dtype":"F32","shape":[99999999999999999999],"data_offsets":[0,8]}}""" },
        { "a product that wraps to 2", """{"a":{"dtype":"F32","shape":[4611686018427387905,2],"data_offsets":[0,8]}}""" },
        { "a product that wraps to 0", """{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}}""" },
        { "bytes that wrap", """{"a":{"dtype":"F32","shape":[4611686018427387906],"data_offsets":[0,8]}}""" },
        { "another type's size", """{"a":{"dtype":"F16","shape":[2],"data_offsets":[0,8]}}""" },
        { "an end before the beginning", """{"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}}""" },
        { "an end beyond the file", """{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,12]}}""" },
        { "an end far beyond", """{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,9223372036854775807]}}""" },
        { "a hole", """{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}""" },
        { "bytes left over", """{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}""" },
        { "an overlap", """{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}""" },
        { "the same place twice", """{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}""" },
        { "half a character", "{\"\\ud800\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}" },
    };

    [Theory, MemberData(nameof(BadHeaders))]
    public void A_header_that_does_not_fit_the_file_is_an_error_that_names_the_file(string what, string header)
    {
        string path = Write(header, new byte[8]);
        InvalidDataException error = Assert.Throws<InvalidDataException>(() => SafeTensors.Open(path));
        Assert.True(error.Message.StartsWith(path, StringComparison.Ordinal), what);
    }

    [Fact]
    public void An_unknown_type_is_an_error_that_names_it()
    {
        string path = Write("""{"a":{"dtype":"F4","shape":[16],"data_offsets":[0,8]}}""", new byte[8]);
        Assert.Contains("'F4'", Assert.Throws<NotSupportedException>(() => SafeTensors.Open(path)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_header_that_is_not_UTF8_is_an_error()
    {
        byte[] header = Encoding.ASCII.GetBytes("""{"?":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}""");
        header[2] = 0xFF;
        Assert.Throws<InvalidDataException>(() => SafeTensors.Open(_folder.Write("bad.safetensors", [.. Length(header.Length), .. header, .. new byte[8]])));
    }

    [Theory]
    [InlineData(0UL), InlineData(1UL), InlineData(58UL), InlineData(1000UL), InlineData(100_000_001UL)]
    [InlineData((ulong)long.MaxValue), InlineData(1UL << 63), InlineData(ulong.MaxValue), InlineData(ulong.MaxValue - 7)]
    public void A_lying_header_length_is_an_error(ulong length)
    {
        string path = Write("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}""", new byte[8]);
        byte[] bytes = File.ReadAllBytes(path);
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, length);
        Assert.Throws<InvalidDataException>(() => SafeTensors.Open(_folder.Write("lying.safetensors", bytes)));
    }

    [Fact]
    public void A_deeply_nested_header_is_an_error()
    {
        string path = Write(string.Concat(Enumerable.Repeat("{\"a\":", 100_000)), []);
        Assert.Throws<InvalidDataException>(() => SafeTensors.Open(path));
    }

    [Fact]
    public void A_file_cut_off_anywhere_is_an_error()
    {
        byte[] whole = Sample();
        string path = _folder["cut.safetensors"];
        for (int length = 0; length < whole.Length; length += length is < 260 or > 4080 ? 1 : 61)
        {
            File.WriteAllBytes(path, whole[..length]);
            Assert.Throws<InvalidDataException>(() => SafeTensors.Open(path));
        }
    }

    // What opens must be readable from end to end: the sample fills its last page, so that reading on would fault.
    [Fact]
    public void Random_damage_gives_errors_or_tensors_inside_the_file()
    {
        byte[] whole = Sample();
        int headerBytes = 8 + BinaryPrimitives.ReadInt32LittleEndian(whole);
        Random random = new(20231);
        int opened = 0;
        for (int round = 0; round < 500; round++)
        {
            byte[] damaged = [.. whole];
            for (int i = random.Next(1, 4); i > 0; i--) damaged[random.Next(headerBytes)] = RandomByte(random);
            try
            {
                using SafeTensors file = SafeTensors.Open(_folder.Write("fuzz.safetensors", damaged));
                Assert.True(file.Tensors.Values.Sum(tensor => tensor.Count * tensor.Type.Size()) <= whole.Length);
                foreach (StoredTensor tensor in file.Tensors.Values)
                    if (tensor.Type is not (ElementType.F8E4M3 or ElementType.F8E5M2)) _ = tensor.ToFloats();
                opened++;
            }
            catch (Exception error) when (error is InvalidDataException or NotSupportedException)
            {
                Assert.Contains("fuzz.safetensors", error.Message, StringComparison.Ordinal);
            }
        }
        Assert.InRange(opened, 1, 499);
    }

    // Half of the time a character that a header is made of, so that damage gets past the JSON reader.
    internal static byte RandomByte(Random random) => (byte)(random.Next(2) == 0 ? "0123456789[]{},:\"FIBU-"[random.Next(22)] : random.Next(256));

    private byte[] Sample()
    {
        const string Header = """{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},"b":{"dtype":"I64","shape":[],"data_offsets":[24,32]},"c":{"dtype":"U8","shape":[3824],"data_offsets":[32,3856]}}""";
        byte[] bytes = File.ReadAllBytes(Write(Header.PadRight(4096 - 8 - 3856), new byte[3856]));
        Assert.Equal(4096, bytes.Length);
        return bytes;
    }

    private string Write(string header, byte[] data)
    {
        byte[] json = Encoding.UTF8.GetBytes(header);
        return _folder.Write("test.safetensors", [.. Length(json.Length), .. json, .. data]);
    }

    private static byte[] Length(long length)
    {
        byte[] bytes = new byte[8];
        BinaryPrimitives.WriteInt64LittleEndian(bytes, length);
        return bytes;
    }

    private static byte[] Bytes(float[] numbers) => [.. numbers.SelectMany(BitConverter.GetBytes)];
}
