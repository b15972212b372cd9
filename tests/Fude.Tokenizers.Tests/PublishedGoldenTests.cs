using System.Text.Json;
using System.Text.Json.Nodes;
using Fude.TestData;

namespace Fude.Tokenizers.Tests;

/// <summary>Tokenizations published by others (shared/data/tokenizer-goldens). All skip without shared.</summary>
public sealed class PublishedGoldenTests
{
    private const string NoShared = "The published tokenizations are in shared beside the checkout, which is not there.";

    [Fact]
    public void Llama_2_in_Japanese()
    {
        Assert.SkipWhen(TestFolders.Shared is null, NoShared);
        foreach (Tokenizer tokenizer in (Tokenizer[])[Tokenizer.Load(TestFolders.SharedData("llama2-tokenizer/tokenizer.model")!), LlamaJson()])
        {
            foreach (JsonElement row in Cases("llama2-ja.json"))
            {
                string text = row.GetProperty("text").GetString()!;
                bool addsBegin = (row.TryGetProperty("add_bos", out JsonElement add) && add.GetBoolean())
                    || (row.TryGetProperty("note", out JsonElement note) && note.GetString()!.Contains("=True", StringComparison.Ordinal));
                bool isAlone = tokenizer.Encode("").Length == 0;      // a .model alone has no BOS and does not parse one
                if (isAlone && text.Contains("<s>", StringComparison.Ordinal)) continue;
                Assert.Equal(isAlone && addsBegin ? row.Ids()[1..] : row.Ids(), tokenizer.Encode(text, addsBegin));
            }
        }
    }

    [Theory, InlineData("llm-jp-v2.1.json", "llm-jp-tokenizer/ver2.1/tokenizer.json"), InlineData("gpt-neox.json", "gpt-neox-tokenizer/tokenizer.json")]
    public void Published_and_computed_cases(string cases, string file)
    {
        Assert.SkipWhen(TestFolders.Shared is null, NoShared);
        Tokenizer tokenizer = Tokenizer.Load(TestFolders.SharedData(file)!);
        foreach (JsonElement row in Cases(cases))
        {
            bool adds = row.TryGetProperty("add_special_tokens", out JsonElement add) && add.GetBoolean();
            Assert.Equal(row.Ids(), tokenizer.Encode(row.GetProperty("text").GetString()!, adds));
        }
    }

    [Fact]
    public void Cases_of_llama_cpp()
    {
        Assert.SkipWhen(TestFolders.Shared is null, NoShared);
        string[] texts = File.ReadAllText(TestFolders.SharedData("tokenizer-goldens/llama-cpp.inp")!).Split("\n__ggml_vocab_test__\n");
        Compare("tokenizer-goldens/llama-spm.out", Tokenizer.Load(TestFolders.SharedData("llama2-tokenizer/tokenizer.model")!));
        Compare("tokenizer-goldens/llama-spm.out", LlamaJson());
        Compare("tokenizer-goldens/gpt-2.out", Gpt2());

        void Compare(string file, Tokenizer tokenizer)
        {
            string[] lines = File.ReadAllLines(TestFolders.SharedData(file)!);
            Assert.True(lines.Length >= 40);
            for (int i = 0; i < lines.Length; i++)
            {
                int[] ids = [.. lines[i].Split(' ', StringSplitOptions.RemoveEmptyEntries).Select(n => int.Parse(n, System.Globalization.CultureInfo.InvariantCulture))];
                Assert.Equal(ids, tokenizer.Encode(texts[i], addSpecialTokens: false));
            }
        }
    }

    [Fact]
    public void Cases_of_swift_transformers()
    {
        Assert.SkipWhen(TestFolders.Shared is null, NoShared);
        JsonElement all = JsonDocument.Parse(File.ReadAllText(TestFolders.SharedData("tokenizer-goldens/hf-llama2-gpt2.json")!)).RootElement;
        foreach ((string name, Tokenizer tokenizer) in ((string, Tokenizer)[])[("coreml-projects/Llama-2-7b-chat-coreml", LlamaJson()), ("distilgpt2", Gpt2())])
        {
            foreach (JsonElement row in all.GetProperty(name).EnumerateArray())
            {
                int[] ids = row.GetProperty("encoded").Ids("input_ids");
                Assert.Equal(ids, tokenizer.Encode(row.GetProperty("input").GetString()!));
                Assert.Equal(row.GetProperty("decoded_without_special").GetString(), tokenizer.Decode(ids, skipSpecialTokens: true));
            }
        }
    }

    private static JsonElement.ArrayEnumerator Cases(string file) =>
        JsonDocument.Parse(File.ReadAllText(TestFolders.SharedData("tokenizer-goldens/" + file)!)).RootElement.GetProperty("cases").EnumerateArray();

    // The files carry tokens that other models added.
    private static Tokenizer LlamaJson() => Without("llama2-tokenizer/phi3-tokenizer.json", id => id >= 32000);

    private static Tokenizer Gpt2() => Without("gpt2-tokenizer/codegen-tokenizer.json", id => id > 50256, """{"tokenizer_class": "GPT2Tokenizer"}""");

    private static Tokenizer Without(string file, Func<int, bool> others, string? config = null)
    {
        JsonNode json = JsonNode.Parse(File.ReadAllText(TestFolders.SharedData(file)!))!;
        JsonArray added = json["added_tokens"]!.AsArray();
        for (int i = added.Count - 1; i >= 0; i--)
            if (others(added[i]!["id"]!.GetValue<int>())) added.RemoveAt(i);
        using TemporaryFolder folder = new();
        folder.Write("tokenizer.json", json.ToJsonString());
        if (config is not null) folder.Write("tokenizer_config.json", config);
        return Tokenizer.Load(folder.Path);
    }
}
