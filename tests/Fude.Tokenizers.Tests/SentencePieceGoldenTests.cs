using System.Text.Json;
using Fude.TestData;

namespace Fude.Tokenizers.Tests;

public sealed class SentencePieceGoldenTests
{
    public static TheoryData<string> Models() => new(GoldenTokens.SentencePieceFolders);

    // Third-party models that are not committed: golden folder, model file.
    public static TheoryData<string, string> SharedModels() => new()
    {
        { "llama2", "llama2-tokenizer/tokenizer.model" },
        { "llm-jp-v2.1", "llm-jp-tokenizer/ver2.1/code10k_en20k_ja30k.ver2.1.model" },
        { "llm-jp-v2.2", "llm-jp-tokenizer/ver2.2/code10K_en20K_ja30K.ver2.2.model" },
    };

    [Theory, MemberData(nameof(Models))]
    public void Encoding_gives_the_ids_of_SentencePiece(string name)
    {
        Tokenizer tokenizer = Load(name);
        foreach (JsonElement row in GoldenTokens.Rows($"tokenizers/{name}/expected.jsonl"))
        {
            string text = GoldenTokens.Lines[row.GetProperty("i").GetInt32()];
            Assert.Equal(row.Ids(), tokenizer.Encode(text));
        }
    }

    [Theory, MemberData(nameof(Models))]
    public void Tokens_are_the_pieces_of_SentencePiece(string name)
    {
        Tokenizer tokenizer = Load(name);
        foreach (JsonElement row in GoldenTokens.Rows($"tokenizers/{name}/expected.jsonl"))
        {
            string text = GoldenTokens.Lines[row.GetProperty("i").GetInt32()];
            EncodedText encoded = tokenizer.EncodeWithOffsets(text);
            string[] pieces = [.. row.GetProperty("pieces").EnumerateArray().Select(p => p.GetString()!)];
            Assert.Equal(pieces.Length, encoded.Tokens.Count);
            for (int i = 0; i < pieces.Length; i++)
                Assert.Equal(encoded.Ids[i] == tokenizer.UnknownId ? "<unk>" : pieces[i], encoded.Tokens[i]);
        }
    }

    [Theory, MemberData(nameof(Models))]
    public void Decoding_gives_the_text_of_SentencePiece(string name)
    {
        Tokenizer tokenizer = Load(name);
        foreach (JsonElement row in GoldenTokens.Rows($"tokenizers/{name}/expected.jsonl"))
            Assert.Equal(row.Decoded("decoded", GoldenTokens.Lines[row.GetProperty("i").GetInt32()]), tokenizer.Decode(row.Ids()));
        foreach (JsonElement row in GoldenTokens.Rows($"tokenizers/{name}/decode.jsonl"))
            Assert.Equal(row.GetProperty("decoded").GetString(), tokenizer.Decode(row.Ids()));
    }

    [Theory, MemberData(nameof(Models))]
    public void Decoding_every_prefix_gives_the_text_of_SentencePiece_and_streaming_adds_up_to_it(string name)
    {
        Tokenizer tokenizer = Load(name);
        Dictionary<int, int[]> ids = GoldenTokens.Rows($"tokenizers/{name}/expected.jsonl").ToDictionary(r => r.GetProperty("i").GetInt32(), r => r.Ids());
        foreach (JsonElement row in GoldenTokens.Rows($"tokenizers/{name}/prefix_decode.jsonl"))
        {
            int[] whole = ids[row.GetProperty("i").GetInt32()];
            string[] prefixes = [.. row.GetProperty("prefixes").EnumerateArray().Select(p => p.GetString()!)];
            int first = prefixes.Length - whole.Length;      // a list may begin with the text of no tokens at all
            for (int i = 0; i < prefixes.Length; i++)
            {
                int count = i + 1 - first;
                Assert.Equal(prefixes[i], tokenizer.Decode(whole.AsSpan(0, count)));
                Assert.Equal(prefixes[i], Streaming.Concatenated(tokenizer, whole.AsSpan(0, count)));
            }
        }
    }

    [Theory, MemberData(nameof(SharedModels))]
    public void Third_party_models_agree_with_SentencePiece(string name, string model)
    {
        Assert.SkipWhen(TestFolders.Shared is null, "The third-party tokenizers are in shared beside the checkout, which is not there.");
        Tokenizer tokenizer = Tokenizer.Load(TestFolders.SharedData(model)!);
        foreach (JsonElement row in GoldenTokens.Rows($"tokenizers/{name}/sentencepiece.jsonl"))
        {
            string text = GoldenTokens.Lines[row.GetProperty("i").GetInt32()];
            Assert.Equal(row.Ids(), tokenizer.Encode(text));
            Assert.Equal(row.Decoded("decoded", text), tokenizer.Decode(row.Ids()));
        }
        foreach (JsonElement row in GoldenTokens.Rows($"tokenizers/{name}/sentencepiece_decode.jsonl"))
        {
            Assert.Equal(row.GetProperty("decoded").GetString(), tokenizer.Decode(row.Ids()));
            Assert.Equal(row.GetProperty("decoded").GetString(), Streaming.Concatenated(tokenizer, row.Ids()));
        }
    }

    private static Tokenizer Load(string name) => Tokenizer.Load(TestFolders.FindGolden($"tokenizers/{name}/tokenizer.model")!);
}
