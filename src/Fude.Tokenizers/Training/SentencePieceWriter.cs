using System.Buffers;
using System.Buffers.Binary;
using System.Text;

namespace Fude.Tokenizers.Training;

/// <summary>Writes SentencePiece's model file: the messages of sentencepiece_model.proto, in the wire format of protocol buffers.</summary>
internal static class SentencePieceWriter
{
    internal static byte[] Write(TrainedTokenizer tokenizer)
    {
        Message model = new();
        foreach (VocabularyPiece piece in tokenizer.Pieces)
        {
            Message entry = new();
            entry.Add(1, piece.Text);
            entry.Add(2, piece.Score);
            if (piece.Kind != PieceKind.Normal) entry.Add(3, (long)piece.Kind);
            model.Add(1, entry);
        }
        model.Add(2, TrainerSpec(tokenizer));
        model.Add(3, NormalizerSpec(tokenizer.Options));
        return model.Bytes.ToArray();
    }

    private static Message TrainerSpec(TrainedTokenizer tokenizer)
    {
        TokenizerTrainerOptions options = tokenizer.Options;
        Message spec = new();
        spec.Add(3, tokenizer.Model == TokenizerModel.Bpe ? 2 : 1);
        spec.Add(4, tokenizer.Pieces.Count);
        spec.Add(10, (float)options.CharacterCoverage);
        spec.Add(14, options.SeedPieces);
        spec.Add(15, (float)options.ShrinkingFactor);
        spec.Add(17, options.SubIterations);
        spec.Add(20, options.MaxPieceLength);
        spec.Add(21, options.SplitByUnicodeScript);
        spec.Add(22, options.SplitByWhitespace);
        spec.Add(23, options.SplitByNumber);
        spec.Add(24, options.TreatWhitespaceAsSuffix);
        spec.Add(25, options.SplitDigits);
        spec.Add(26, options.AllowWhitespaceOnlyPieces);
        foreach (string piece in options.ControlPieces) spec.Add(30, piece);
        foreach (string piece in options.UserDefinedPieces) spec.Add(31, piece);
        spec.Add(35, options.ByteFallback);
        if (options.RequiredCharacters.Length > 0) spec.Add(36, options.RequiredCharacters);

        // The special pieces: their ids, -1 for none, and their names.
        spec.Add(40, 0);
        int id = 1;
        spec.Add(41, options.BeginPiece is null ? -1 : id++);
        spec.Add(42, options.EndPiece is null ? -1 : id++);
        spec.Add(43, options.PaddingPiece is null ? -1 : id);
        spec.Add(45, options.UnknownPiece);
        spec.Add(46, options.BeginPiece ?? "<s>");
        spec.Add(47, options.EndPiece ?? "</s>");
        spec.Add(48, options.PaddingPiece ?? "<pad>");
        return spec;
    }

    private static Message NormalizerSpec(TokenizerTrainerOptions options)
    {
        Message spec = new();
        bool identity = options.Normalization == TrainerNormalization.Identity;
        spec.Add(1, identity ? "identity" : "nfkc");
        spec.Add(2, identity ? [] : CharsmapWriter.Nfkc());
        spec.Add(3, options.AddDummyPrefix);
        spec.Add(4, options.RemoveExtraWhitespaces);
        spec.Add(5, true);      // spaces are written ▁
        return spec;
    }

    /// <summary>A message: numbered fields, each with the way it is stored.</summary>
    private sealed class Message
    {
        private const int Varint = 0, LengthDelimited = 2, Fixed32 = 5;

        private readonly ArrayBufferWriter<byte> _bytes = new();

        internal ReadOnlySpan<byte> Bytes => _bytes.WrittenSpan;

        internal void Add(int field, bool value) => Add(field, value ? 1L : 0);

        internal void Add(int field, long value)
        {
            AddVarint((ulong)(field << 3 | Varint));
            AddVarint((ulong)value);        // negative numbers take ten bytes, as the format has it
        }

        internal void Add(int field, float value)
        {
            AddVarint((ulong)(field << 3 | Fixed32));
            BinaryPrimitives.WriteSingleLittleEndian(_bytes.GetSpan(4), value);
            _bytes.Advance(4);
        }

        internal void Add(int field, string value) => Add(field, Encoding.UTF8.GetBytes(value));

        internal void Add(int field, Message value) => Add(field, value.Bytes);

        internal void Add(int field, ReadOnlySpan<byte> value)
        {
            AddVarint((ulong)(field << 3 | LengthDelimited));
            AddVarint((ulong)value.Length);
            _bytes.Write(value);
        }

        private void AddVarint(ulong value)
        {
            Span<byte> bytes = _bytes.GetSpan(10);
            int count = 0;
            for (; value >= 0x80; value >>= 7) bytes[count++] = (byte)(value | 0x80);
            bytes[count++] = (byte)value;
            _bytes.Advance(count);
        }
    }
}
