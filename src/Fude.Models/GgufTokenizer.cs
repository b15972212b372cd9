using System.Globalization;
using Fude.Tokenizers;

namespace Fude.Models;

/// <summary>A tokenizer in the metadata of GGUF files.</summary>
/// <remarks>
/// SentencePiece's BPE is "llama", byte-level BPE "gpt2", Unigram "t5". Every row of the embedding gets an entry: rows that the tokenizer
/// has none for, empty pieces and second copies of a piece become unused ones with names of their own, because llama.cpp refuses
/// duplicates. Where llama.cpp's tokenizer is less exact (it does not normalise before byte-level BPE, and has no bytes for what a
/// Unigram lacks) token ids of rare texts differ there; the entries are the same.
/// </remarks>
internal static class GgufTokenizer
{
    /// <summary>The metadata of a tokenizer for a model.</summary>
    /// <exception cref="NotSupportedException">It rewrites text by rules that would be lost.</exception>
    /// <exception cref="InvalidDataException">It has ids that the model has no rows for.</exception>
    public static IEnumerable<KeyValuePair<string, object>> Write(Tokenizer tokenizer, ModelConfig config)
    {
        if (tokenizer.VocabularySize > config.Vocabulary)
            throw new InvalidDataException(
                $"the tokenizer has ids up to {tokenizer.VocabularySize - 1}, but the model has only {config.Vocabulary} rows. They do " +
                "not belong together.");
        bool isBytes = tokenizer.Model == TokenizerModel.ByteLevelBpe;
        if (!isBytes) RefuseRules(tokenizer);
        string[] tokens = new string[config.Vocabulary];
        float[] scores = new float[config.Vocabulary];
        int[] kinds = new int[config.Vocabulary];
        HashSet<string> seen = new(StringComparer.Ordinal);
        foreach (VocabularyPiece piece in tokenizer.Pieces)
            if (piece.Text.Length > 0 && seen.Add(piece.Text))
                (tokens[piece.Id], scores[piece.Id], kinds[piece.Id]) = (piece.Text, piece.Score, (int)piece.Kind);
        for (int id = 0; id < tokens.Length; id++)
            if (tokens[id] is null)
                (tokens[id], kinds[id]) = (string.Create(CultureInfo.InvariantCulture, $"[UNUSED_{id}]"), (int)PieceKind.Unused);

        yield return new("tokenizer.ggml.model", tokenizer.Model switch
        {
            TokenizerModel.Bpe => "llama",
            TokenizerModel.ByteLevelBpe => "gpt2",
            _ => "t5",
        });
        yield return new("tokenizer.ggml.pre", isBytes ? "gpt-2" : "default");
        yield return new("tokenizer.ggml.tokens", tokens);
        if (isBytes) yield return new("tokenizer.ggml.merges", tokenizer.Merges.Select(merge => $"{merge.Left} {merge.Right}").ToArray());
        else yield return new("tokenizer.ggml.scores", scores);
        yield return new("tokenizer.ggml.token_type", kinds);

        List<KeyValuePair<string, object>> special = [];
        int? begin = tokenizer.BeginId ?? config.BosToken;
        int? end = tokenizer.EndId ?? (config.EosTokens.Count > 0 ? config.EosTokens[0] : null);
        foreach ((string name, int? id) in (ReadOnlySpan<(string, int?)>)[
            ("bos", begin), ("eos", end), ("unknown", tokenizer.UnknownId), ("padding", tokenizer.PaddingId ?? config.PadToken)])
            if (id >= 0 && id < config.Vocabulary) special.Add(new($"tokenizer.ggml.{name}_token_id", (uint)id.Value));
        foreach (KeyValuePair<string, object> entry in special) yield return entry;

        // What the tokenizer does is seen in what it makes of nothing, and of one character.
        int[] around = tokenizer.Encode("");
        bool adds = around.Length > 0, ends = EndsTexts(tokenizer);
        yield return new("tokenizer.ggml.add_bos_token", adds && around[0] == begin && (around.Length > 1 || begin != end || !ends));
        yield return new("tokenizer.ggml.add_eos_token", adds && around[^1] == end && ends);
        if (isBytes) yield break;
        int[] one = tokenizer.Encode("あ", addSpecialTokens: false);
        yield return new("tokenizer.ggml.add_space_prefix", one.Length > 0 && tokenizer.TokenOf(one[0]).StartsWith('▁'));
        yield return new("tokenizer.ggml.remove_extra_whitespaces", false);
    }

    private static bool EndsTexts(Tokenizer tokenizer)
    {
        int[] bare = tokenizer.Encode("あ", addSpecialTokens: false), dressed = tokenizer.Encode("あ");
        return dressed.Length > bare.Length && dressed[^1] == tokenizer.EndId;
    }

    // Full-width letters, a circled number, half-width katakana, two spaces: any rule of the common normalisers changes one of them.
    private static void RefuseRules(Tokenizer tokenizer)
    {
        const string Probe = "Ａ①ﾊﾟ  x";
        string seen = string.Concat(tokenizer.Explain(Probe, addSpecialTokens: false).NormalizedText).Replace('▁', ' ').Trim();
        if (seen != Probe)
            throw new NotSupportedException(
                $"the tokenizer rewrites text before it cuts it (\"{Probe}\" becomes \"{seen}\"), and fude does not write such rules " +
                "to GGUF files. It writes tokenizers without a normaliser, as those of Llama 2, llm-jp and GPT-NeoX are.");
    }
}
