using System.Globalization;
using System.Text;
using Fude.Tokenizers.Text;
using static Fude.Tokenizers.Wording;

namespace Fude.Tokenizers.Files;

/// <summary>What a SentencePiece model file says: the parts of sentencepiece_model.proto that encoding and decoding need.</summary>
internal sealed class SentencePieceFile
{
    internal SentencePieceFile(string source) => Source = source;

    /// <summary>The file's name, for errors.</summary>
    internal string Source { get; }

    internal List<Piece> Pieces { get; } = [];

    internal bool IsBpe { get; set; }

    internal bool HasByteFallback { get; set; }

    internal bool TreatsWhitespaceAsSuffix { get; set; }

    /// <summary>What an unknown piece decodes to.</summary>
    internal string UnknownSurface { get; set; } = " \u2047 ";

    internal string BeginPiece { get; set; } = "<s>";

    internal string EndPiece { get; set; } = "</s>";

    internal string PaddingPiece { get; set; } = "<pad>";

    internal bool AddsDummyPrefix { get; set; } = true;

    internal bool RemovesExtraWhitespace { get; set; } = true;

    internal bool EscapesWhitespace { get; set; } = true;

    /// <summary>The normaliser's rules; empty for none.</summary>
    internal byte[] Charsmap { get; set; } = [];

    internal static SentencePieceFile Read(string path) => Parse(JsonPart.ReadBytes(path), path);

    /// <summary>Reads a model.</summary>
    /// <exception cref="InvalidDataException">It is no SentencePiece model, or a broken one.</exception>
    /// <exception cref="NotSupportedException">It is of a kind that fude does not have.</exception>
    internal static SentencePieceFile Parse(ReadOnlySpan<byte> bytes, string source)
    {
        SentencePieceFile file = new(source);
        ProtobufReader model = new(bytes, source);
        while (model.Next())
        {
            switch (model.Field)
            {
                case 1: file.ReadPiece(model.Message()); break;
                case 2: file.ReadTrainer(model.Message()); break;
                case 3: file.ReadNormalizer(model.Message()); break;
                case 5: file.ReadDenormalizer(model.Message()); break;
                default: model.Skip(); break;
            }
        }
        file.Check();
        return file;
    }

    private void ReadPiece(ProtobufReader message)
    {
        string text = "";
        bool isText = true;
        float score = 0;
        long kind = (long)PieceKind.Normal;
        while (message.Next())
        {
            switch (message.Field)
            {
                case 1:
                    ReadOnlySpan<byte> bytes = message.Bytes();
                    text = Encoding.UTF8.GetString(bytes);
                    isText = System.Text.Unicode.Utf8.IsValid(bytes);
                    break;
                case 2: score = message.Single(); break;
                case 3: kind = message.Integer(); break;
                default: message.Skip(); break;
            }
        }
        if (kind is < (long)PieceKind.Normal or > (long)PieceKind.Byte)
            throw Broken(Say(
                string.Create(CultureInfo.InvariantCulture, $"piece {Pieces.Count} (\"{text}\") has the unknown type {kind}; SentencePiece has types 1 to 6"),
                string.Create(CultureInfo.InvariantCulture, $"語 {Pieces.Count}（\"{text}\"）の型 {kind} は未知です。SentencePiece の型は 1 から 6 までです")));
        if (float.IsNaN(score)) throw Broken(Say(
            string.Create(CultureInfo.InvariantCulture, $"piece {Pieces.Count} (\"{text}\") has no number for its score"),
            string.Create(CultureInfo.InvariantCulture, $"語 {Pieces.Count}（\"{text}\"）のスコアが数ではありません")));
        Pieces.Add(new(text, score, (PieceKind)kind, isText));
    }

    private void ReadTrainer(ProtobufReader message)
    {
        long type = 1;
        while (message.Next())
        {
            switch (message.Field)
            {
                case 3: type = message.Integer(); break;
                case 24: TreatsWhitespaceAsSuffix = message.Boolean(); break;
                case 35: HasByteFallback = message.Boolean(); break;
                case 44: UnknownSurface = Encoding.UTF8.GetString(message.Bytes()); break;
                case 46: BeginPiece = Encoding.UTF8.GetString(message.Bytes()); break;
                case 47: EndPiece = Encoding.UTF8.GetString(message.Bytes()); break;
                case 48: PaddingPiece = Encoding.UTF8.GetString(message.Bytes()); break;
                default: message.Skip(); break;
            }
        }
        if (type is not (1 or 2))
        {
            string name = type switch { 3 => "WORD", 4 => "CHAR", _ => type.ToString(CultureInfo.InvariantCulture) };
            throw new NotSupportedException(Say(
                $"{Source}: model_type {name}; fude supports UNIGRAM and BPE.",
                $"{Source}: model_type {name} には対応していません。使えるのは UNIGRAM と BPE です。"));
        }
        IsBpe = type == 2;
    }

    private void ReadNormalizer(ProtobufReader message)
    {
        while (message.Next())
        {
            switch (message.Field)
            {
                case 2: Charsmap = message.Bytes().ToArray(); break;
                case 3: AddsDummyPrefix = message.Boolean(); break;
                case 4: RemovesExtraWhitespace = message.Boolean(); break;
                case 5: EscapesWhitespace = message.Boolean(); break;
                default: message.Skip(); break;
            }
        }
    }

    private void ReadDenormalizer(ProtobufReader message)
    {
        while (message.Next())
        {
            if (message.Field != 2) message.Skip();
            else if (!message.Bytes().IsEmpty)
                throw new NotSupportedException(Say(
                    $"{Source}: a denormalizer_spec with rules of its own; fude supports models that decode without one.",
                    $"{Source}: 独自の規則を持つ denormalizer_spec には対応していません。使えるのは、これなしで復号するモデルです。"));
        }
    }

    /// <summary>Refuses pieces that contradict themselves.</summary>
    internal void Check()
    {
        if (Pieces.Count == 0) throw Broken(Say("it has no pieces", "語が 1 つもありません"));
        if (Pieces.Count > Fude.Tokenizers.Pieces.Vocabulary.MaxSize)
            throw Broken(Say(
                string.Create(CultureInfo.InvariantCulture, $"it has {Pieces.Count} pieces; fude expects at most {Fude.Tokenizers.Pieces.Vocabulary.MaxSize}"),
                string.Create(CultureInfo.InvariantCulture, $"語が {Pieces.Count} 個あります。fude が読めるのは {Fude.Tokenizers.Pieces.Vocabulary.MaxSize} 個までです")));
        int unknown = Pieces.Count(p => p.Kind == PieceKind.Unknown);
        if (unknown != 1) throw Broken(Say(
            string.Create(CultureInfo.InvariantCulture, $"it has {unknown} pieces of type UNKNOWN, where one should be"),
            string.Create(CultureInfo.InvariantCulture, $"型が UNKNOWN の語が {unknown} 個あります。1 個でなければなりません")));

        bool[] bytes = new bool[256];
        foreach (Piece piece in Pieces)
        {
            if (piece.Kind != PieceKind.Byte) continue;
            int value = Fude.Tokenizers.Pieces.Vocabulary.ByteOf(piece.Text);
            if (value < 0) throw Broken(Say(
                $"its piece \"{piece.Text}\" is of type BYTE, but not one of <0x00> to <0xFF>",
                $"語 \"{piece.Text}\" の型は BYTE ですが、<0x00> から <0xFF> のどれでもありません"));
            if (!HasByteFallback) throw Broken(Say(
                $"it has the byte piece {piece.Text}, but byte_fallback is off",
                $"バイトの語 {piece.Text} がありますが、byte_fallback が無効です"));
            bytes[value] = true;
        }
        int missing = Array.IndexOf(bytes, false);
        if (HasByteFallback && missing >= 0)
            throw Broken(Say(
                string.Create(CultureInfo.InvariantCulture, $"byte_fallback is on, but there is no piece <0x{missing:X2}>"),
                string.Create(CultureInfo.InvariantCulture, $"byte_fallback が有効ですが、語 <0x{missing:X2}> がありません")));
    }

    internal InvalidDataException Broken(string what) =>
        new(Say($"{Source} is not a usable SentencePiece model: {what}.", $"{Source} は SentencePiece のモデルとして使えません: {what}。"));

    /// <summary>One piece. A piece that is no UTF-8 can stand in no text; its <paramref name="Text"/> shows U+FFFD for what is wrong.</summary>
    internal readonly record struct Piece(string Text, float Score, PieceKind Kind, bool IsText);
}
