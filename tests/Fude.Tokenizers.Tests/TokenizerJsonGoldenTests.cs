using System.Text.Json;
using Fude.TestData;

namespace Fude.Tokenizers.Tests;

/// <summary>Real tokenizer.json files against Hugging Face's library, LlamaTokenizer against transformers. All skip without shared.</summary>
public sealed class TokenizerJsonGoldenTests
{
    private const string NoShared = "The third-party tokenizers are in shared beside the checkout, which is not there.";

    public static TheoryData<string, string> Files() => new()
    {
        { "llm-jp-v2.1", "llm-jp-tokenizer/ver2.1/tokenizer.json" },
        { "llm-jp-v2.2", "llm-jp-tokenizer/ver2.2/tokenizer.json" },
        { "gpt-neox-20b", "gpt-neox-tokenizer/tokenizer.json" },
        { "gpt2-codegen", "gpt2-tokenizer/codegen-tokenizer.json" },
    };

    [Theory, MemberData(nameof(Files))]
    public void Encoding_and_decoding_agree_with_the_library(string name, string file)
    {
        Assert.SkipWhen(TestFolders.Shared is null, NoShared);
        Tokenizer tokenizer = Tokenizer.Load(TestFolders.SharedData(file)!);
        foreach (JsonElement row in GoldenTokens.Rows($"tokenizers/{name}/tokenizer_json_rust.jsonl"))
        {
            string text = GoldenTokens.Lines[row.GetProperty("i").GetInt32()];
            int[] ids = row.Ids(), withSpecial = row.GetProperty("ids_with_special").ValueKind == JsonValueKind.True ? ids : row.Ids("ids_with_special");
            Assert.Equal(ids, tokenizer.Encode(text, addSpecialTokens: false));
            Assert.Equal(withSpecial, tokenizer.Encode(text));
            string decoded = row.Decoded("decoded", text), skipped = row.Decoded("decoded_skip_special", decoded);
            Assert.Equal(decoded, tokenizer.Decode(ids));
            Assert.Equal(skipped, tokenizer.Decode(ids, skipSpecialTokens: true));
            Assert.Equal(decoded, Streaming.Concatenated(tokenizer, ids));
            Assert.Equal(skipped, Streaming.Concatenated(tokenizer, ids, skipSpecialTokens: true));
        }
        foreach (JsonElement row in GoldenTokens.Rows($"tokenizers/{name}/tokenizer_json_rust_decode.jsonl"))
        {
            Assert.Equal(row.GetProperty("decoded").GetString(), tokenizer.Decode(row.Ids()));
            Assert.Equal(row.GetProperty("decoded").GetString(), Streaming.Concatenated(tokenizer, row.Ids()));
        }
    }

    [Theory, InlineData(true), InlineData(false)]
    public void A_folder_with_a_LlamaTokenizer_follows_transformers(bool legacy)
    {
        Assert.SkipWhen(TestFolders.Shared is null, NoShared);
        using TemporaryFolder folder = LlamaFolder(legacy);
        Tokenizer tokenizer = Tokenizer.Load(folder.Path);
        foreach (JsonElement row in GoldenTokens.Rows($"tokenizers/llama2/transformers_slow_legacy_{(legacy ? "true" : "false")}.jsonl"))
        {
            string text = GoldenTokens.Lines[row.GetProperty("i").GetInt32()];
            Assert.Equal(row.Ids(), tokenizer.Encode(text));
            Assert.Equal(row.Ids()[1..], tokenizer.Encode(text, addSpecialTokens: false));
            Assert.Equal(row.Decoded("decoded", text), tokenizer.Decode(row.Ids()));
            Assert.Equal(row.Decoded("decoded_skip_special", text), tokenizer.Decode(row.Ids(), skipSpecialTokens: true));
            Assert.Equal(row.Decoded("decoded", text), Streaming.Concatenated(tokenizer, row.Ids()));
            Assert.Equal(row.Decoded("decoded_skip_special", text), Streaming.Concatenated(tokenizer, row.Ids(), skipSpecialTokens: true));
        }
    }

    [Fact]
    public void Llama_chat_prompts_have_the_ids_of_transformers()
    {
        Assert.SkipWhen(TestFolders.Shared is null, NoShared);
        using TemporaryFolder folder = LlamaFolder(legacy: false);
        Tokenizer tokenizer = Tokenizer.Load(folder.Path);
        foreach (JsonElement row in GoldenTokens.Rows("tokenizers/llama2/chat_template.jsonl"))
            Assert.Equal(row.Ids(), tokenizer.Encode(row.GetProperty("text").GetString()!, addSpecialTokens: false));
    }

    private static TemporaryFolder LlamaFolder(bool legacy)
    {
        TemporaryFolder folder = new();
        File.Copy(TestFolders.SharedData("llama2-tokenizer/tokenizer.model")!, Path.Combine(folder.Path, "tokenizer.model"));
        folder.Write("tokenizer_config.json", $$"""{"tokenizer_class": "LlamaTokenizer", "legacy": {{(legacy ? "true" : "false")}}}""");
        return folder;
    }
}
