using System.Text.Encodings.Web;
using System.Text.Json;

namespace Fude.Tokenizers.Training;

/// <summary>
/// Writes tokenizer.json, tokenizer_config.json and special_tokens_map.json, as transformers' converters of SentencePiece models do, and
/// so that encoding gives the ids of the .model.
/// </summary>
internal static class HuggingFaceWriter
{
    private static readonly JsonWriterOptions Readable = new() { Indented = true, Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    internal static byte[] Tokenizer(TrainedTokenizer tokenizer) => Json(json =>
    {
        TokenizerTrainerOptions options = tokenizer.Options;
        bool isBpe = tokenizer.Model == TokenizerModel.Bpe;

        // Added tokens split the text, and ▁ would be put before every part. A unigram model has no need of that: a user-defined piece
        // with the score that SentencePiece gives it wins by itself, and in BPE one character that no merge knows stays alone. For longer
        // ones the converter's newer way puts ▁ before the first part only.
        bool splits = SplitsText(tokenizer);

        json.WriteString("version", "1.0");
        json.WriteNull("truncation");
        json.WriteNull("padding");
        json.WriteStartArray("added_tokens");
        foreach (VocabularyPiece piece in tokenizer.Pieces)
        {
            if (piece.Kind is PieceKind.Unknown or PieceKind.Control) AddedToken(json, piece, special: true, withId: true);
            else if (splits && piece.Kind == PieceKind.UserDefined && IsLong(piece.Text)) AddedToken(json, piece, special: false, withId: true);
        }
        json.WriteEndArray();

        json.WriteStartObject("normalizer");
        json.WriteString("type", "Sequence");
        json.WriteStartArray("normalizers");
        if (options.Normalization == TrainerNormalization.Nfkc) Component(json, "NFKC");
        if (options.RemoveExtraWhitespaces)
        {
            Replace(json, "Regex", @"\A +| +\z", "");
            Replace(json, "Regex", " {2,}", " ");
        }
        if (options.AddDummyPrefix && !splits) Component(json, "Prepend", ("prepend", "▁"));
        Replace(json, "String", " ", "▁");
        json.WriteEndArray();
        json.WriteEndObject();

        if (options.AddDummyPrefix && splits)
        {
            json.WriteStartObject("pre_tokenizer");
            json.WriteString("type", "Metaspace");
            json.WriteString("replacement", "▁");
            json.WriteString("prepend_scheme", "first");
            json.WriteBoolean("split", false);
            json.WriteEndObject();
        }
        else json.WriteNull("pre_tokenizer");
        if (options.AddBegin) BeginTemplate(json, options.BeginPiece!);
        else json.WriteNull("post_processor");

        json.WriteStartObject("decoder");
        json.WriteString("type", "Sequence");
        json.WriteStartArray("decoders");
        Replace(json, "String", "▁", " ");
        Component(json, "ByteFallback");
        Component(json, "Fuse");
        if (options.AddDummyPrefix)
        {
            json.WriteStartObject();
            json.WriteString("type", "Strip");
            json.WriteString("content", " ");
            json.WriteNumber("start", 1);
            json.WriteNumber("stop", 0);
            json.WriteEndObject();
        }
        json.WriteEndArray();
        json.WriteEndObject();

        json.WriteStartObject("model");
        if (isBpe) Bpe(json, tokenizer);
        else Unigram(json, tokenizer);
        json.WriteEndObject();
    });

    /// <summary>Whether added tokens split a text before it is prepared.</summary>
    internal static bool SplitsText(TrainedTokenizer tokenizer) => tokenizer.Model == TokenizerModel.Bpe && tokenizer.Options.UserDefinedPieces.Any(IsLong);

    internal static byte[] Config(TrainedTokenizer tokenizer) => Json(json =>
    {
        json.WriteBoolean("add_bos_token", tokenizer.Options.AddBegin);
        json.WriteBoolean("add_eos_token", false);
        json.WriteStartObject("added_tokens_decoder");
        foreach (VocabularyPiece piece in tokenizer.Pieces)
        {
            if (piece.Kind is not (PieceKind.Unknown or PieceKind.Control)) continue;
            json.WritePropertyName(piece.Id.ToString(System.Globalization.CultureInfo.InvariantCulture));
            AddedToken(json, piece, special: true, withId: false);
        }
        json.WriteEndObject();
        WriteSpecial(json, tokenizer.Options);
        json.WriteBoolean("clean_up_tokenization_spaces", false);
        json.WriteString("tokenizer_class", "PreTrainedTokenizerFast");
    });

    internal static byte[] SpecialTokens(TrainedTokenizer tokenizer) => Json(json => WriteSpecial(json, tokenizer.Options));

    private static void WriteSpecial(Utf8JsonWriter json, TokenizerTrainerOptions options)
    {
        if (options.BeginPiece is string begin) json.WriteString("bos_token", begin);
        if (options.EndPiece is string end) json.WriteString("eos_token", end);
        json.WriteString("unk_token", options.UnknownPiece);
        if (options.PaddingPiece is string padding) json.WriteString("pad_token", padding);
        if (options.ControlPieces.Count == 0) return;
        json.WriteStartArray("additional_special_tokens");
        foreach (string control in options.ControlPieces) json.WriteStringValue(control);
        json.WriteEndArray();
    }

    private static void BeginTemplate(Utf8JsonWriter json, string begin)
    {
        json.WriteStartObject("post_processor");
        json.WriteString("type", "TemplateProcessing");
        json.WriteStartArray("single");
        Special();
        Sequence("A");
        json.WriteEndArray();
        json.WriteStartArray("pair");
        Special();
        Sequence("A");
        Sequence("B");
        json.WriteEndArray();
        json.WriteStartObject("special_tokens");
        json.WriteStartObject(begin);
        json.WriteString("id", begin);
        json.WriteStartArray("ids");
        json.WriteNumberValue(1);       // after the unknown piece, always
        json.WriteEndArray();
        json.WriteStartArray("tokens");
        json.WriteStringValue(begin);
        json.WriteEndArray();
        json.WriteEndObject();
        json.WriteEndObject();
        json.WriteEndObject();

        void Special() => Item("SpecialToken", begin);

        void Sequence(string name) => Item("Sequence", name);

        void Item(string kind, string id)
        {
            json.WriteStartObject();
            json.WriteStartObject(kind);
            json.WriteString("id", id);
            json.WriteNumber("type_id", 0);
            json.WriteEndObject();
            json.WriteEndObject();
        }
    }

    private static void Unigram(Utf8JsonWriter json, TrainedTokenizer tokenizer)
    {
        // To SentencePiece, bytes are in no text. Here they are entries like all others, and the text "<0x41>" would be one token, but for
        // a score that is worse than any way to spell it.
        double lowest = tokenizer.Pieces.Where(p => p.Kind == PieceKind.Normal).Min(p => p.Score);
        json.WriteString("type", "Unigram");
        json.WriteNumber("unk_id", 0);
        json.WriteStartArray("vocab");
        foreach (VocabularyPiece piece in tokenizer.Pieces)
        {
            double score = piece.Kind switch
            {
                PieceKind.UserDefined => -0.1,
                PieceKind.Byte => 10 * lowest,
                _ => piece.Score,
            };
            json.WriteStartArray();
            json.WriteStringValue(piece.Text);
            json.WriteNumberValue(score);
            json.WriteEndArray();
        }
        json.WriteEndArray();
        json.WriteBoolean("byte_fallback", tokenizer.Options.ByteFallback);
    }

    private static void Bpe(Utf8JsonWriter json, TrainedTokenizer tokenizer)
    {
        json.WriteString("type", "BPE");
        json.WriteNull("dropout");
        json.WriteString("unk_token", tokenizer.Options.UnknownPiece);
        json.WriteNull("continuing_subword_prefix");
        json.WriteNull("end_of_word_suffix");
        json.WriteBoolean("fuse_unk", true);
        json.WriteBoolean("byte_fallback", tokenizer.Options.ByteFallback);
        json.WriteStartObject("vocab");
        foreach (VocabularyPiece piece in tokenizer.Pieces) json.WriteNumber(piece.Text, piece.Id);
        json.WriteEndObject();

        // SentencePiece merges whatever makes a piece, the piece of the highest score first: so each way to cut a piece in two is a merge.
        Dictionary<string, int> idOf = [];
        foreach (VocabularyPiece piece in tokenizer.Pieces)
            if (piece.Kind == PieceKind.Normal) idOf[piece.Text] = piece.Id;
        json.WriteStartArray("merges");
        foreach (VocabularyPiece piece in tokenizer.Pieces.Where(p => p.Kind == PieceKind.Normal).OrderByDescending(p => p.Score))
        {
            List<(int Left, int Right)> cuts = [];
            for (int i = 1; i < piece.Text.Length; i++)
            {
                if (char.IsLowSurrogate(piece.Text[i])) continue;
                if (idOf.TryGetValue(piece.Text[..i], out int left) && idOf.TryGetValue(piece.Text[i..], out int right)) cuts.Add((left, right));
            }
            cuts.Sort();
            // No piece of text holds a space: they are written ▁.
            foreach ((int left, int right) in cuts) json.WriteStringValue($"{tokenizer.Pieces[left].Text} {tokenizer.Pieces[right].Text}");
        }
        json.WriteEndArray();
    }

    private static bool IsLong(string piece) => piece.Length > (char.IsHighSurrogate(piece[0]) ? 2 : 1);

    private static void AddedToken(Utf8JsonWriter json, VocabularyPiece piece, bool special, bool withId)
    {
        json.WriteStartObject();
        if (withId) json.WriteNumber("id", piece.Id);
        json.WriteString("content", piece.Text);
        json.WriteBoolean("single_word", false);
        json.WriteBoolean("lstrip", false);
        json.WriteBoolean("rstrip", false);
        json.WriteBoolean("normalized", false);
        json.WriteBoolean("special", special);
        json.WriteEndObject();
    }

    private static void Replace(Utf8JsonWriter json, string kind, string pattern, string content)
    {
        json.WriteStartObject();
        json.WriteString("type", "Replace");
        json.WriteStartObject("pattern");
        json.WriteString(kind, pattern);
        json.WriteEndObject();
        json.WriteString("content", content);
        json.WriteEndObject();
    }

    private static void Component(Utf8JsonWriter json, string type, params ReadOnlySpan<(string Name, string Value)> properties)
    {
        json.WriteStartObject();
        json.WriteString("type", type);
        foreach ((string name, string value) in properties) json.WriteString(name, value);
        json.WriteEndObject();
    }

    private static byte[] Json(Action<Utf8JsonWriter> write)
    {
        using MemoryStream stream = new();
        using (Utf8JsonWriter json = new(stream, Readable))
        {
            json.WriteStartObject();
            write(json);
            json.WriteEndObject();
        }
        stream.Write("\n"u8);
        return stream.ToArray();
    }
}
