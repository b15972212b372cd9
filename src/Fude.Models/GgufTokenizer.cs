using Fude.Tokenizers;
using Fude.Tokenizers.Files;
using static Fude.Tensors.Wording;

namespace Fude.Models;

/// <summary>Writes a tokenizer as metadata of GGUF files.</summary>
/// <remarks>
/// SentencePiece's BPE is "llama", byte-level BPE "gpt2", Unigram "t5". Every row of the embedding gets an entry: rows that the tokenizer
/// has none for, empty pieces and second copies of a piece become unused ones with names of their own, because llama.cpp refuses
/// duplicates. fude gives the same ids for the file as before. llama.cpp's tokenizer is less exact: it does not normalise before BPE and
/// has no bytes for what a Unigram lacks, so ids of such texts differ there; the entries are the same.
/// </remarks>
internal static class GgufTokenizer
{
    /// <summary>The metadata of a tokenizer for a model.</summary>
    /// <exception cref="NotSupportedException">GGUF files have no word for what it does.</exception>
    /// <exception cref="InvalidDataException">It has ids that the model has no rows for.</exception>
    public static IEnumerable<KeyValuePair<string, object>> Write(Tokenizer tokenizer, ModelConfig config)
    {
        if (tokenizer.VocabularySize > config.Vocabulary)
            throw new InvalidDataException(Say(
                $"the tokenizer has ids up to {tokenizer.VocabularySize - 1}, but the model has only {config.Vocabulary} rows. They do " +
                "not belong together.",
                $"トークナイザーの ID は {tokenizer.VocabularySize - 1} までありますが、モデルの語彙は {config.Vocabulary} 行しかありません。" +
                "モデルとトークナイザーの組み合わせが違います。"));
        string[] tokens = new string[config.Vocabulary];
        float[] scores = new float[config.Vocabulary];
        int[] kinds = new int[config.Vocabulary];
        HashSet<string> seen = new(StringComparer.Ordinal);
        foreach (VocabularyPiece piece in tokenizer.Pieces)
            if (piece.Text.Length > 0 && seen.Add(piece.Text))
                (tokens[piece.Id], scores[piece.Id], kinds[piece.Id]) = (piece.Text, piece.Score, (int)piece.Kind);
        for (int id = 0; id < tokens.Length; id++)
            if (tokens[id] is null) (tokens[id], kinds[id]) = (GgufTokenizerFile.Filler(id), (int)PieceKind.Unused);

        yield return new(GgufTokenizerFile.Model, tokenizer.Model switch
        {
            TokenizerModel.Bpe => "llama",
            TokenizerModel.ByteLevelBpe => "gpt2",
            _ => "t5",
        });
        yield return new(GgufTokenizerFile.Tokens, tokens);
        if (tokenizer.Merges.Count > 0) yield return new(GgufTokenizerFile.Merges, tokenizer.Merges.Select(Merge).ToArray());
        if (tokenizer.Model != TokenizerModel.ByteLevelBpe) yield return new(GgufTokenizerFile.TokenScores, scores);
        yield return new(GgufTokenizerFile.Kinds, kinds);

        int? begin = tokenizer.BeginId ?? config.BosToken;
        int? end = tokenizer.EndId ?? (config.EosTokens.Count > 0 ? config.EosTokens[0] : null);
        (string, int?)[] special =
            [("bos", begin), ("eos", end), ("unknown", tokenizer.UnknownId), ("padding", tokenizer.PaddingId ?? config.PadToken)];
        foreach ((string name, int? id) in special)
            if (id >= 0 && id < tokenizer.VocabularySize) yield return new($"tokenizer.ggml.{name}_token_id", (uint)id.Value);

        // What the tokenizer puts around texts is seen in what it makes of nothing, and of one character.
        int[] around = tokenizer.Encode(""), bare = tokenizer.Encode("あ", addSpecialTokens: false), dressed = tokenizer.Encode("あ");
        bool ends = dressed.Length > bare.Length && dressed[^1] == tokenizer.EndId;
        bool begins = around.Length > 0 && around[0] == begin && (around.Length > 1 || begin != end || !ends);
        yield return new(GgufTokenizerFile.AddBegin, begins);
        yield return new(GgufTokenizerFile.AddEnd, ends);

        Dictionary<string, object> rules = [];
        tokenizer.Describe(rules);
        foreach (KeyValuePair<string, object> rule in rules) yield return rule;
    }

    private static string Merge((string Left, string Right) merge)
    {
        string text = $"{merge.Left} {merge.Right}";
        return text.IndexOf(' ', 1) == merge.Left.Length && !merge.Right.Contains(' ')
            ? text
            : throw new NotSupportedException(Say(
                $"the tokenizer merges \"{merge.Left}\" and \"{merge.Right}\", and GGUF files have no way to write a merge of pieces with spaces in them.",
                $"トークナイザーが「{merge.Left}」と「{merge.Right}」を結合しますが、空白を含む部分の結合は GGUF ファイルに書けません。"));
    }
}
