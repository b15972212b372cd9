using System.Buffers.Binary;
using System.Runtime.CompilerServices;
using Fude.TestData;
using Fude.Tokenizers;
using Fude.Tokenizers.Training;

namespace Fude.Corpus.Tests;

public sealed class WordingTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    [ModuleInitializer]
    internal static void BeEnglish() => UserLanguage.BeEnglish();

    [Fact]
    public void A_damaged_shard_is_told_in_both_languages()
    {
        string index = _folder["a.idx"], tokens = _folder["a.bin"];
        UserLanguage.Fails(() => TokenShard.Open(_folder["a"]), $"{index}: there is no such file; a shard is NAME.bin and NAME.idx.", $"{index}: そのようなファイルはありません。シャードは NAME.bin と NAME.idx の組です。");
        using (TokenShardWriter writer = new(_folder["a"], 100))
        {
            writer.Add([1, 2, 3]);
            writer.Complete();
        }
        byte[] good = File.ReadAllBytes(index);
        byte[] bad = [.. good];
        bad[0] = (byte)'X';
        Written(bad, "does not begin with MMIDIDX: it is not the index of a token shard.", "先頭が MMIDIDX ではありません。トークンシャードの索引ではありません。");
        bad = [.. good];
        bad[9] = 2;
        Written(bad, "has version 2; fude reads version 1.", "バージョン 2 には対応していません。読めるのはバージョン 1 です。");
        bad = [.. good];
        bad[17] = 7;
        Written(bad, "holds numbers of type 7; fude reads the integers, types 1 to 5 and 8 (uint16).", "数値型 7 には対応していません。読めるのは整数（1 から 5 と 8）です。");
        bad = [.. good];
        BinaryPrimitives.WriteInt64LittleEndian(bad.AsSpan(18), 9);
        Written(bad, $"has {good.Length} bytes and says that it lists 9 sequences and 2 boundaries of documents, which takes 158. The file is cut short or damaged.",
            $"{good.Length} バイトですが、記録された 9 個の系列と 2 個の文書境界には 158 バイト必要です。ファイルが途中で切れているか、破損しています。");
        Written(good[..20], "has 20 bytes; 34 are wanted from byte 0 on. It is cut short.", "20 バイトしかなく、0 バイト目から 34 バイトを読めません。途中で切れています。");
        bad = [.. good];
        bad[34] = 4;
        Written(bad, $"says that sequence 0 has 4 tokens from byte 0 on, but {tokens} has 6 bytes. The two files are not of one shard, or one is cut short.",
            $"系列 0 は 0 バイト目から 4 トークンとされていますが、{tokens} は 6 バイトです。2 つのファイルが同じシャードのものでないか、途中で切れています。");

        void Written(byte[] bytes, string english, string japanese)
        {
            File.WriteAllBytes(index, bytes);
            UserLanguage.Fails(() => TokenShard.Open(_folder["a"]), $"{index}: {english}", $"{index}: {japanese}");
        }
    }

    [Fact]
    public void Texts_without_a_document_and_files_that_would_be_written_over_are_told_in_both_languages()
    {
        Tokenizer tokenizer = Tokenizer.Load(TestFolders.FindGolden("tokenizers/spm-bpe-llama2-like/tokenizer.model")!);
        string text = _folder.Write("a.txt", "\n");
        UserLanguage.Fails(() => CorpusTokenizer.Write(new TrainingText(text), tokenizer, _folder["a"], null), $"{text}: there is no document in it.", $"{text}: 文書がありません。");
        UserLanguage.Fails(() => HoldOut.Split(new TrainingText(text), text, _folder["b"], 0.1), $"{text} would be written over: ", $"{text} が上書きされてしまいます。");
        using (TokenShardWriter writer = new(_folder["a"], tokenizer.VocabularySize) { Tokenizer = tokenizer })
        {
            writer.Add([1, 2, 3]);
            writer.Complete();
        }
        string file = _folder.Write("a.tokenizer", $"{tokenizer.VocabularySize} 0123456789abcdef\n");
        using TokenShard shard = TokenShard.Open(_folder["a"]);
        UserLanguage.Fails(() => Require(shard, tokenizer), $"{_folder["a"]} is of another tokenizer than M: their pieces differ.", $"{_folder["a"]} は M と異なるトークナイザーのシャードです（語が一致しません）。");
        File.WriteAllText(file, "?");
        UserLanguage.Fails(() => Require(shard, tokenizer), $"{file} should hold the number of a tokenizer's pieces", $"{file} に、トークナイザーの語の数とそのハッシュ値がありません。");

        static object? Require(TokenShard shard, Tokenizer tokenizer)
        {
            ShardTokenizer.Require(shard, tokenizer, "M");
            return null;
        }
    }

    public void Dispose() => _folder.Dispose();
}
