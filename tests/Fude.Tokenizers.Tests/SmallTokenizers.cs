using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;
using Fude.Tokenizers.Pieces;

namespace Fude.Tokenizers.Tests;

/// <summary>Tokenizers small enough to write down, made for tests.</summary>
internal static class SmallTokenizers
{
    /// <summary>Byte-level BPE that merges a few letters, runs of a and spaces, and the bytes of 日; ids 0 to 255 are the bytes.</summary>
    internal static string ByteLevel(bool splits = true)
    {
        (string Left, string Right)[] merges = [("a", "a"), ("aa", "aa"), ("t", "h"), ("th", "e"), ("Ġ", "the"), ("Ġ", "Ġ"), ("ĠĠ", "ĠĠ"), ("æ", "Ĺ"), ("æĹ", "¥")];
        JsonObject vocabulary = [];
        foreach (char c in ByteAlphabet.Characters) vocabulary.Add(c.ToString(), vocabulary.Count);
        foreach ((string left, string right) in merges) vocabulary.Add(left + right, vocabulary.Count);
        JsonArray added = [Added(vocabulary.Count, "<|end|>", special: true), Added(vocabulary.Count + 1, "▲", special: false)];
        return new JsonObject
        {
            ["version"] = "1.0",
            ["added_tokens"] = added,
            ["normalizer"] = new JsonObject { ["type"] = "NFC" },
            ["pre_tokenizer"] = new JsonObject { ["type"] = "ByteLevel", ["add_prefix_space"] = false, ["trim_offsets"] = true, ["use_regex"] = splits },
            ["post_processor"] = new JsonObject { ["type"] = "ByteLevel", ["add_prefix_space"] = false, ["trim_offsets"] = false },
            ["decoder"] = new JsonObject { ["type"] = "ByteLevel", ["add_prefix_space"] = true, ["trim_offsets"] = true },
            ["model"] = Bpe(vocabulary, merges),
        }.ToJsonString();
    }

    /// <summary>A tokenizer.json of the given parts (JSON, or null) over a BPE of single characters with these merges.</summary>
    internal static string Characters(
        string characters, (string Left, string Right)[] merges, string normalizer = "null", string preTokenizer = "null", string postProcessor = "null",
        string decoder = """{"type": "Fuse"}""", string added = "[]", string more = "")
    {
        JsonObject vocabulary = [];
        foreach (System.Text.Rune rune in characters.EnumerateRunes()) vocabulary.Add(rune.ToString(), vocabulary.Count);
        foreach ((string left, string right) in merges) vocabulary.TryAdd(left + right, vocabulary.Count);
        string model = Bpe(vocabulary, merges).ToJsonString();
        return $$$"""
            {"added_tokens": {{{added}}}, "normalizer": {{{normalizer}}}, "pre_tokenizer": {{{preTokenizer}}}, "post_processor": {{{postProcessor}}},
             "decoder": {{{decoder}}}, "model": {{{model[..^1]}}}{{{more}}} } }
            """;
    }

    /// <summary>A Unigram tokenizer.json.</summary>
    internal static string Unigram(params (string Piece, double Score)[] pieces)
    {
        string list = string.Join(", ", pieces.Select(p => string.Create(CultureInfo.InvariantCulture, $"[{JsonSerializer.Serialize(p.Piece)}, {p.Score:R}]")));
        return $$"""{"decoder": {"type": "Fuse"}, "model": {"type": "Unigram", "unk_id": 0, "vocab": [{{list}}] } }""";
    }

    private static JsonObject Bpe(JsonObject vocabulary, (string Left, string Right)[] merges) => new()
    {
        ["type"] = "BPE",
        ["dropout"] = null,
        ["vocab"] = vocabulary,
        ["merges"] = new JsonArray([.. merges.Select(m => (JsonNode)$"{m.Left} {m.Right}")]),
    };

    private static JsonObject Added(int id, string content, bool special) => new()
    {
        ["id"] = id,
        ["content"] = content,
        ["single_word"] = false,
        ["lstrip"] = false,
        ["rstrip"] = false,
        ["normalized"] = false,
        ["special"] = special,
    };
}
