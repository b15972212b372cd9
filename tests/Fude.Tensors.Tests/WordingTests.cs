using System.Runtime.CompilerServices;
using System.Text;
using Fude.TestData;

namespace Fude.Tensors.Tests;

public sealed class WordingTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    [ModuleInitializer]
    internal static void BeEnglish() => UserLanguage.BeEnglish();

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData("ja", "はい"), InlineData("ja-JP", "はい"), InlineData("JA-jp", "はい")]
    [InlineData("en", "yes"), InlineData("", "yes"), InlineData("de-DE", "yes"), InlineData("jam", "yes")]
    public void The_language_is_Japanese_where_the_user_reads_it(string culture, string expected) =>
        Assert.Equal(expected, UserLanguage.In(culture, () => Wording.Say("yes", "はい")));

    public static TheoryData<string, string, string> Headers() => new()
    {
        { "{", "the header is not the JSON of a safetensors file: line 1, byte 2: ", "ヘッダーが safetensors の JSON として読めません: 1 行目の 2 バイト目: " },
        { "[]", "the header is not the object it should be.", "ヘッダーの JSON はオブジェクトでなければなりません。" },
        { """{"a":{"dtype":"F32","shape":"2","data_offsets":[0,8]}}""", "the shape of tensor 'a' is not the array it should be.", "テンソル 'a' の shape は配列でなければなりません。" },
        { """{"a":{"dtype":"F32","shape":[2.5],"data_offsets":[0,8]}}""",
            "the shape of tensor 'a' holds something that is not a whole number from 0 to 2^63 - 1.",
            "テンソル 'a' の shape に 0 から 2^63 - 1 までの整数でないものがあります。" },
        { """{"a":{"dtype":"F4","shape":[2],"data_offsets":[0,8]}}""",
            "tensor 'a' has the dtype 'F4', which fude does not know. Weights are F32, F16, BF16 or F64.",
            "テンソル 'a' の dtype 'F4' には対応していません。重みは F32、F16、BF16、F64 のどれかです。" },
        { """{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,12]}}""",
            "tensor 'a' claims bytes 0 to 12 of the 8 after the header. The file is cut off or damaged: download or copy it again.",
            "テンソル 'a' は 0 から 12 バイト目にあるとされますが、ヘッダーの後は 8 バイトです。ファイルが途中で切れているか、破損しています。ダウンロードまたはコピーをやり直してください。" },
        { """{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}""",
            "4 bytes at the end belong to no tensor. The file is damaged.", "末尾の 4 バイトがどのテンソルにも属しません。ファイルが破損しています。" },
    };

    [Theory, MemberData(nameof(Headers))]
    public void A_damaged_safetensors_file_is_told_in_both_languages(string header, string english, string japanese)
    {
        string file = SafeTensorsFile(header, new byte[8]);
        UserLanguage.Fails(() => SafeTensors.Open(file), $"{file}: {english}", $"{file}: {japanese}");
    }

    [Fact]
    public void A_safetensors_file_that_is_cut_off_is_told_in_both_languages()
    {
        string whole = SafeTensorsFile("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}""", new byte[8]);
        byte[] bytes = File.ReadAllBytes(whole);
        string none = _folder.Write("none.safetensors", []), few = _folder.Write("few.safetensors", bytes[..5]), cut = _folder.Write("cut.safetensors", bytes[..20]);
        UserLanguage.Fails(() => SafeTensors.Open(none), $"{none}: the file is empty. Download or copy it again.",
            $"{none}: ファイルが空です。ダウンロードまたはコピーをやり直してください。");
        UserLanguage.Fails(() => SafeTensors.Open(few), $"{few}: 5 bytes are too few for a safetensors file.", $"{few}: 5 バイトしかなく、safetensors として短すぎます。");
        UserLanguage.Fails(() => SafeTensors.Open(cut), $"{cut}: the header claims 54 bytes, but the file has 12 after its first 8. Download or copy it again.",
            $"{cut}: ヘッダーが 54 バイトとされていますが、先頭の 8 バイトの後は 12 バイトしかありません。ダウンロードまたはコピーをやり直してください。");
    }

    [Fact]
    public void Weights_that_do_not_fit_their_configuration_are_told_in_both_languages()
    {
        string file = SafeTensorsFile("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}""", new byte[8]);
        using Checkpoint checkpoint = Checkpoint.Open(file);
        UserLanguage.Fails(() => checkpoint.Vector("a", 3),
            $"{file}: tensor 'a' is [2], but config.json asks for [3]. The weights and config.json are not of one model.",
            $"{file}: テンソル 'a' の形は [2] ですが、config.json によれば [3] のはずです。重みと config.json が同じモデルのものではありません。");
        UserLanguage.Fails(() => checkpoint.Matrix("b", 2, 4),
            $"{file}: has no tensor 'b' among its 1, but config.json asks for it as [2, 4]. ",
            $"{file}: config.json によれば必要な [2, 4] のテンソル 'b' が、全 1 個の中にありません。");
        UserLanguage.Fails(() => Checkpoint.Open(_folder.Path), $"{_folder.Path}: the folder has no weights. One of model.safetensors, ",
            $"{_folder.Path}: フォルダーに重みがありません。model.safetensors、");
        UserLanguage.Fails(() => Checkpoint.Open(_folder["gone"]), $"{_folder["gone"]}: no such file or folder of weights.",
            $"{_folder["gone"]}: 重みのファイルもフォルダーも見つかりません。");
        string index = _folder.Write("model.safetensors.index.json", """{"weight_map":{"a":"other.safetensors"}}""");
        UserLanguage.Fails(() => Checkpoint.Open(index), $"{index}: names the shard 'other.safetensors', which is not beside it. Download it too.",
            $"{index}: シャード 'other.safetensors' が隣にありません。それもダウンロードしてください。");
    }

    [Fact]
    public void A_bad_GGUF_file_is_told_in_both_languages()
    {
        Gguf(Encoding.ASCII.GetBytes("gguf, or not"), "does not begin with the letters GGUF. This is not a GGUF file.",
            "先頭が GGUF の 4 文字ではありません。GGUF ファイルではありません。");
        Gguf(new RawGguf { Version = 1 }.ToBytes(), "is of GGUF version 1; fude reads versions 2 and 3, little-endian. Convert the model again.",
            "GGUF のバージョンが 1 です。fude が読めるのはリトルエンディアンのバージョン 2 と 3 です。モデルを変換し直してください。");
        Gguf("GGUF\u0003\0\0\0\u0001"u8.ToArray(), "ends within the number of tensors. Download or copy it again.",
            "テンソルの数の途中で終わっています。ダウンロードまたはコピーをやり直してください。");
        Gguf(new RawGguf { EntryCount = 1 }.ToBytes(8), "ends within the key of metadata entry 0.", "メタデータの項目 0 のキーの途中で終わっています。");
        Gguf(new RawGguf().Entry("a", 7, (byte)3).ToBytes(), "'a' holds a truth value 3, but 0 or 1 is expected.",
            "'a' の値は真偽値のはずですが 3 です。0 か 1 が必要です。");
        Gguf(new RawGguf().Entry("a", 9, 99u, 1ul).ToBytes(), "'a' has values of type 99, which there is not.", "'a' の値の型が 99 ですが、そのような型はありません。");
        Gguf(new RawGguf { Data = 64 }.Tensor("w", 16, 0, 256).ToBytes(), "tensor 'w' is IQ2_XXS, which fude does not read. It reads F32, ",
            "テンソル 'w' の形式 IQ2_XXS には対応していません。fude が読める形式: F32、");
        Gguf(new RawGguf { Data = 64 }.Tensor("w", 0, 0, 1024).ToBytes(), "tensor 'w' claims to be F32 [1024], more than the file's ",
            "テンソル 'w' は F32 [1024] とされ、ファイルの ");
    }

    private void Gguf(byte[] bytes, string english, string japanese)
    {
        string file = _folder.Write("bad.gguf", bytes);
        UserLanguage.Fails(() => Tensors.Gguf.Open(file), $"{file}: {english}", $"{file}: {japanese}");
    }

    [Fact]
    public void A_pickle_that_is_none_of_tensors_is_told_in_both_languages()
    {
        Pickle(PickleBuilder.Protocol(2).Op("}").Text("w").Global("os", "system").Stop(),
            "the pickle asks for 'os.system' at byte ", "'os.system' を呼び出そうとしたため、実行せずに拒否しました。");
        Pickle(PickleBuilder.Protocol(9).Stop(), "the pickle is of protocol 9; fude reads 0 to 5.", "pickle のプロトコルが 9 です。fude が読めるのは 0 から 5 までです。");
        Pickle(PickleBuilder.Protocol(2).Op("]").Stop(), "does not hold a dictionary of tensors. Save model.state_dict().",
            "テンソルの辞書が入っていません。model.state_dict() を保存してください。");
        Pickle(PickleBuilder.Protocol(2).Int(1).Int(2).Op("a").Stop(),
            "the pickle is not one of tensors: a list is expected (before byte ", "テンソルの pickle として正しくありません。リストが必要なところに別のものがあります（");
    }

    private void Pickle(byte[] pickle, string english, string japanese)
    {
        string file = _folder.Write("bad.bin", new ZipBuilder().Add("archive/data.pkl", pickle).Build());
        UserLanguage.Fails(() => Checkpoint.Open(file), english, japanese);
        UserLanguage.Fails(() => Checkpoint.Open(file), $"{file}: ", $"{file}: ");
    }

    [Fact]
    public void Numbers_and_formats_that_do_not_fit_are_told_in_both_languages()
    {
        UserLanguage.Fails(() => NumberFormat.Q4_0.Bytes(40), "40 numbers are not whole blocks of Q4_0, which has 32 in a block.", "40 個の数は Q4_0 の 32 個ずつのブロックに分けられません。");
        UserLanguage.Fails(() => new RandomWeights(NumberFormat.Q2_K), "fude reads Q2_K but does not make it; ", "fude は Q2_K を読めますが、作れません。");
        UserLanguage.Fails(() => InstructionSets.Choose("mmx"), "FUDE_ISA=mmx: fude knows no such instruction set. Possible here: scalar", "FUDE_ISA=mmx: fude が対応していない命令セットです。ここで使えるもの: scalar");
        string folder = _folder["none"];
        UserLanguage.Fails(() => Write(Path.Combine(folder, "a.safetensors")), $"there is no folder {folder} to write it into.", $"書き出し先のフォルダー {folder} がありません。");

        static object? Write(string file)
        {
            SafeTensors.Write(file, []);
            return null;
        }
    }

    // Rows are converted on other threads, which are to speak the same language.
    [Fact]
    public void A_number_that_a_format_cannot_hold_is_told_in_both_languages()
    {
        string file = SafeTensorsFile("""{"a":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]}}""", [.. BitConverter.GetBytes(1f), .. BitConverter.GetBytes(70000f)]);
        using Checkpoint checkpoint = Checkpoint.Open(file);
        NewGgufTensor tensor = NewGgufTensor.Of("a", checkpoint.Matrix("a", 1, 2), NumberFormat.F16);
        UserLanguage.Fails(() =>
        {
            tensor.WriteNumbers(Stream.Null);
            return null;
        }, "tensor 'a': number 1 of row 0 is 70000, which F16 cannot hold. Choose BF16.", "テンソル 'a': 行 0 の要素 1 は 70000 で、F16 では表せません。BF16 を選んでください。");
    }

    private string SafeTensorsFile(string header, byte[] data)
    {
        byte[] json = Encoding.UTF8.GetBytes(header);
        return _folder.Write("test.safetensors", [.. BitConverter.GetBytes((long)json.Length), .. json, .. data]);
    }
}
