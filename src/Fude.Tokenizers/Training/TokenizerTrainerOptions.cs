using System.Text;
using Fude.Tokenizers.Pieces;
using Fude.Tokenizers.Unicode;
using static Fude.Tokenizers.Wording;

namespace Fude.Tokenizers.Training;

/// <summary>How text is normalised before a trained tokenizer sees it.</summary>
public enum TrainerNormalization
{
    /// <summary>Not at all: what goes in comes out again. The default.</summary>
    Identity,

    /// <summary>Unicode's NFKC: ｶﾅ becomes カナ, Ａ１ becomes A1, ㈱ becomes (株).</summary>
    Nfkc,
}

/// <summary>What a tokenizer to be trained looks like. The names and defaults are SentencePiece's unless a remark says otherwise.</summary>
public sealed record TokenizerTrainerOptions
{
    /// <summary>The exact number of pieces, with the special ones and the bytes.</summary>
    public int VocabularySize { get; init; } = 8000;

    /// <summary>The share of the characters of the text that get a piece of their own; rarer ones become bytes, or unknown.</summary>
    public double CharacterCoverage { get; init; } = 0.9995;

    /// <summary>Characters that get a piece whatever their frequency.</summary>
    public string RequiredCharacters { get; init; } = "";

    /// <summary>The longest piece, in code points.</summary>
    public int MaxPieceLength { get; init; } = 16;

    /// <summary>Whether characters without a piece become their UTF-8 bytes, 256 pieces of their own. On by default, unlike SentencePiece.</summary>
    public bool ByteFallback { get; init; } = true;

    /// <summary>Whether every digit (0-9, ０-９) stays alone.</summary>
    public bool SplitDigits { get; init; }

    /// <summary>Whether a piece keeps to one script. Kanji, hiragana and katakana count as one, for Japanese words mix them.</summary>
    public bool SplitByUnicodeScript { get; init; } = true;

    /// <summary>Whether digits are apart from letters; when off, "F1" can be a piece.</summary>
    public bool SplitByNumber { get; init; } = true;

    /// <summary>Whether a space begins a new piece; when off, "▁in▁the" can be a piece.</summary>
    public bool SplitByWhitespace { get; init; } = true;

    /// <summary>Whether the space belongs to the end of the word before ("word▁") and not to the beginning of the word after.</summary>
    public bool TreatWhitespaceAsSuffix { get; init; }

    /// <summary>Whether runs of spaces can be learnt as pieces.</summary>
    public bool AllowWhitespaceOnlyPieces { get; init; }

    /// <summary>
    /// Adds a piece for each run of 2 to this many spaces, whatever the text holds (24 in llm-jp's tokenizers); 0 for none. Runs are then
    /// not learnt.
    /// </summary>
    public int WhitespaceRuns { get; init; }

    /// <summary>Whether a space is put before every text.</summary>
    public bool AddDummyPrefix { get; init; } = true;

    /// <summary>Whether leading, trailing and repeated spaces are dropped. Off by default, unlike SentencePiece: text should come back.</summary>
    public bool RemoveExtraWhitespaces { get; init; }

    /// <summary>How text is normalised. SentencePiece's default is nmt_nfkc; here nothing changes unless asked for.</summary>
    public TrainerNormalization Normalization { get; init; } = TrainerNormalization.Identity;

    /// <summary>Pieces that only a caller puts between texts, such as the end of a document; text never matches them.</summary>
    public IReadOnlyList<string> ControlPieces { get; init; } = [];

    /// <summary>Pieces that are always matched whole where the text has them, such as "\n" or a placeholder. A space in them is written ▁, and the
    /// normalisation leaves them as they are.</summary>
    public IReadOnlyList<string> UserDefinedPieces { get; init; } = [];

    /// <summary>The piece for what has no other, id 0.</summary>
    public string UnknownPiece { get; init; } = "<unk>";

    /// <summary>The piece for the beginning of a text, or null for none. It has the id after the unknown piece.</summary>
    public string? BeginPiece { get; init; } = "<s>";

    /// <summary>Whether the folder that <see cref="TrainedTokenizer.SaveHuggingFace"/> writes puts the begin piece before every text.</summary>
    public bool AddBegin { get; init; }

    /// <summary>The piece for the end of a text, or null for none. It has the next id.</summary>
    public string? EndPiece { get; init; } = "</s>";

    /// <summary>The piece to fill batches with, or null for none. It has the next id.</summary>
    public string? PaddingPiece { get; init; }

    /// <summary>Threads that work, 0 for one per core. The result does not depend on it.</summary>
    public int Threads { get; init; }

    /// <summary>
    /// Unique characters of text held in memory at most (about 25 bytes each while seed pieces are searched). Where a text has more, its
    /// rarest stretches are thinned out at random, by a fixed hash, and those that stay count for those that went.
    /// </summary>
    public long HeldCharacters { get; init; } = 400_000_000;

    /// <summary>Unigram: candidates to begin with.</summary>
    public int SeedPieces { get; init; } = 1_000_000;

    /// <summary>Unigram: the share of the pieces that stays in each round.</summary>
    public double ShrinkingFactor { get; init; } = 0.75;

    /// <summary>Unigram: EM steps in each round.</summary>
    public int SubIterations { get; init; } = 2;

    /// <summary>The threads to use: never 0.</summary>
    internal int WorkerThreads => Threads == 0 ? Environment.ProcessorCount : Threads;

    /// <summary>The pieces whose ids come first, in the order of their ids: special, control, user-defined, bytes, runs of spaces.</summary>
    internal List<VocabularyPiece> MetaPieces()
    {
        List<VocabularyPiece> pieces = [];
        Add(UnknownPiece, PieceKind.Unknown);
        foreach (string? special in (string?[])[BeginPiece, EndPiece, PaddingPiece, .. ControlPieces])
            if (special is not null) Add(special, PieceKind.Control);
        foreach (string user in UserDefinedPieces) Add(user, PieceKind.UserDefined);
        for (int value = 0; ByteFallback && value < 256; value++) Add(FormattableString.Invariant($"<0x{value:X2}>"), PieceKind.Byte);
        for (int length = WhitespaceRuns; length >= 2; length--) Add(new string(PieceRules.Space, length), PieceKind.Normal);
        return pieces;

        void Add(string text, PieceKind kind) => pieces.Add(new(pieces.Count, text, 0, kind));
    }

    /// <summary>Checks every value once, at the door.</summary>
    /// <exception cref="ArgumentException">A value is out of its range, or two pieces are the same.</exception>
    internal void Check()
    {
        Require(VocabularySize is >= 2 and <= Vocabulary.MaxSize, nameof(VocabularySize), VocabularySize, Say($"2 to {Vocabulary.MaxSize}", $"2 から {Vocabulary.MaxSize} まで"));
        Require(CharacterCoverage is > 0 and <= 1, nameof(CharacterCoverage), CharacterCoverage, Say("above 0 and at most 1", "0 より大きく 1 以下"));
        Require(MaxPieceLength is >= 1 and <= 512, nameof(MaxPieceLength), MaxPieceLength, Say("1 to 512", "1 から 512 まで"));
        Require(WhitespaceRuns is 0 or (>= 2 and <= 512), nameof(WhitespaceRuns), WhitespaceRuns, Say("0, or 2 to 512", "0、または 2 から 512 まで"));
        Require(Threads is >= 0 and <= 1024, nameof(Threads), Threads, Say("0 to 1024", "0 から 1024 まで"));
        Require(HeldCharacters is >= 1000 and <= 1_000_000_000, nameof(HeldCharacters), HeldCharacters, Say("1,000 to 1,000,000,000", "1,000 から 1,000,000,000 まで"));
        Require(SeedPieces >= 1, nameof(SeedPieces), SeedPieces, Say("at least 1", "1 以上"));
        Require(ShrinkingFactor is >= 0.1 and <= 0.99, nameof(ShrinkingFactor), ShrinkingFactor, Say("0.1 to 0.99", "0.1 から 0.99 まで"));
        Require(SubIterations is >= 1 and <= 100, nameof(SubIterations), SubIterations, Say("1 to 100", "1 から 100 まで"));
        Require(Enum.IsDefined(Normalization), nameof(Normalization), Normalization, Say("Identity or Nfkc", "Identity または Nfkc"));

        if (AddBegin && BeginPiece is null) throw new ArgumentException(Say(
            $"{nameof(AddBegin)} wants a begin piece before every text, but {nameof(BeginPiece)} is null.",
            $"{nameof(AddBegin)} はテキストの前に開始の語を付けますが、{nameof(BeginPiece)} が null です。"));

        HashSet<string> seen = [];
        foreach (VocabularyPiece piece in MetaPieces())
        {
            if (piece.Text.Length == 0) throw new ArgumentException(Say(
                "A piece given in the options is empty. Leave it out, or use null for none.",
                "オプションに空の語があります。取り除くか、無しなら null にしてください。"));
            if (piece.Text.Contains('\0', StringComparison.Ordinal) || piece.Text.AsSpan().ContainsAny(PieceRules.Surrogates) && !IsWellFormed(piece.Text))
                throw new ArgumentException(Say(
                    $"The piece '{piece.Text}' holds U+0000 or half a surrogate pair, which no model file can store.",
                    $"語 '{piece.Text}' に U+0000 またはサロゲートペアの片方だけがあり、どの形式のモデルにも保存できません。"));
            if (piece.Kind == PieceKind.UserDefined && piece.Text.Contains(' ', StringComparison.Ordinal))
                throw new ArgumentException(Say(
                    $"The user-defined piece '{piece.Text}' holds a space; write ▁ (U+2581), as spaces become in text.",
                    $"ユーザー定義の語 '{piece.Text}' に空白があります。テキスト中の空白と同じく ▁（U+2581）と書いてください。"));
            if (piece.Kind == PieceKind.UserDefined && Normalization == TrainerNormalization.Nfkc
                && UnicodeNormalizer.Get(NormalizationForm.FormKC).Normalize(piece.Text) is string normal && normal != piece.Text)
                throw new ArgumentException(Say(
                    $"The user-defined piece '{piece.Text}' is '{normal}' after NFKC: tokenizer.model would find it in a text, and tokenizer.json would not. " +
                    $"Give '{normal.Replace(' ', PieceRules.Space)}' in its place, or leave NFKC out (--nfkc).",
                    $"ユーザー定義の語 '{piece.Text}' は NFKC で '{normal}' になるため、tokenizer.model では見つかり、tokenizer.json では見つかりません。" +
                    $"代わりに '{normal.Replace(' ', PieceRules.Space)}' を指定するか、NFKC（--nfkc）を外してください。"));
            if (!seen.Add(piece.Text)) throw new ArgumentException(Say(
                $"The piece '{piece.Text}' is given twice in the options; each piece has one id.",
                $"語 '{piece.Text}' がオプションに 2 回あります。1 つの語の ID は 1 つです。"));
        }
        Require(VocabularySize > seen.Count, nameof(VocabularySize), VocabularySize,
            Say($"more than {seen.Count}, the number of special, control, user-defined, byte and whitespace pieces",
                $"特殊、制御、ユーザー定義、バイト、空白の語の数 {seen.Count} より大きい数"));

        static void Require(bool holds, string name, object found, string expected)
        {
            if (!holds)
                throw new ArgumentOutOfRangeException(name, Say(
                    FormattableString.Invariant($"{name} is {found}; expected {expected}."), FormattableString.Invariant($"{name} が {found} です（必要: {expected}）。")));
        }

        static bool IsWellFormed(string text)
        {
            for (int i = 0; i < text.Length; i++)
            {
                if (!char.IsSurrogate(text[i])) continue;
                if (i + 1 == text.Length || !char.IsSurrogatePair(text[i], text[i + 1])) return false;
                i++;
            }
            return true;
        }
    }
}
