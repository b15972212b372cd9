using Fude.Tokenizers.Files;
using Fude.Tokenizers.Normalizers;
using Fude.Tokenizers.Pieces;
using Fude.Tokenizers.Text;

namespace Fude.Tokenizers.Pipelines;

/// <summary>Text → pieces exactly as SentencePiece 0.1.97 does it, for both of its kinds of model.</summary>
internal sealed class SentencePieceEncoder
{
    /// <summary>No piece, but a character of one: numbered behind the pieces. Other characters have this symbol and never merge.</summary>
    private const int NoSymbol = -1;

    private readonly SentencePieceNormalizer _normalizer;
    private readonly UnigramSearch? _unigram;
    private readonly PairMerger? _merger;
    private readonly SymbolTable _symbols = new();
    private readonly int[] _outputs = [];            // symbol → piece id; the unknown id for characters that are no pieces
    private readonly PieceTrie _userDefined;
    private readonly bool[] _begins = [];
    private readonly int[] _byteIds = [];
    private readonly int _unknownId;
    private readonly bool _hasByteFallback;

    internal SentencePieceEncoder(SentencePieceFile file, Vocabulary vocabulary, bool addsDummyPrefix)
    {
        // As in SentencePiece: text is made of normal, user-defined and unused pieces; the first of equal ones counts.
        Dictionary<string, int> pieces = new(StringComparer.Ordinal), reserved = new(StringComparer.Ordinal);
        for (int id = 0; id < file.Pieces.Count; id++)
        {
            SentencePieceFile.Piece piece = file.Pieces[id];
            if (!piece.IsText || piece.Text.Length == 0) continue;
            bool isReserved = piece.Kind is PieceKind.Unknown or PieceKind.Control or PieceKind.Byte;
            (isReserved ? reserved : pieces).TryAdd(piece.Text, id);
        }
        _unknownId = vocabulary.UnknownId;
        _hasByteFallback = file.HasByteFallback;
        if (_hasByteFallback) _byteIds = vocabulary.ByteIds.ToArray();
        _userDefined = new(pieces.Where(p => file.Pieces[p.Value].Kind == PieceKind.UserDefined).Select(p => (p.Key, p.Value)));
        _normalizer = new(file, _userDefined, addsDummyPrefix);
        if (file.IsBpe)
        {
            if (!_userDefined.IsEmpty)
            {
                _begins = new bool[char.MaxValue + 1];
                foreach ((string text, int id) in pieces)
                    if (file.Pieces[id].Kind == PieceKind.UserDefined) _begins[text[0]] = true;
            }
            (_merger, _outputs) = CreateMerger(file, pieces, reserved);
        }
        else
        {
            _unigram = CreateSearch(file, pieces);
        }
    }

    /// <summary>Appends the tokens of a piece of the (well-formed) original text, which begins there at <paramref name="offset"/>.</summary>
    internal void Encode(ReadOnlySpan<char> text, int offset, Workspace workspace)
    {
        TextBuffer buffer = workspace.Text;
        buffer.Clear(workspace.Tokens.Tracked);
        _normalizer.Run(text, offset, buffer);
        workspace.Seen?.Add(buffer.Span.ToString());
        if (buffer.Length == 0) return;
        Receiver receiver = new(this, buffer, workspace.Tokens);
        if (_unigram is not null) _unigram.Run(buffer.Span, 0, buffer.Length, workspace.Lattice, ref receiver);
        else Merge(buffer.Span, workspace.Line, ref receiver);
    }

    private void Merge(ReadOnlySpan<char> text, PairMerger.Line line, ref Receiver receiver)
    {
        line.Clear();
        for (int i = 0; i < text.Length;)
        {
            char c = text[i];
            int length = 1;
            if (_begins.Length > 0 && _begins[c] && (length = _userDefined.LongestPrefix(text[i..], out int id)) > 0)
            {
                line.Add(Frozen(id), i);
            }
            else if (!char.IsHighSurrogate(c))
            {
                length = 1;
                line.Add(_symbols[c], i);
            }
            else
            {
                line.Add(_symbols.Of(WellFormed.CodePointAt(text, i, out length)), i);
            }
            i += length;
        }
        _merger!.Run(line);
        ReadOnlySpan<PairMerger.Symbol> symbols = line.Symbols.AsSpan(0, line.Count);
        for (int i = 0; i < symbols.Length; i++)
        {
            int symbol = symbols[i].Id;
            int id = symbol >= 0 ? _outputs[symbol] : symbol == NoSymbol ? _unknownId : Frozen(symbol);
            receiver.Add(id, symbols[i].Start, i + 1 < symbols.Length ? symbols[i + 1].Start : text.Length);
        }
    }

    // A user-defined piece takes part in no merge: it stands as a negative number.
    private static int Frozen(int id) => -2 - id;

    private static UnigramSearch CreateSearch(SentencePieceFile file, Dictionary<string, int> pieces)
    {
        double[] scores = new double[file.Pieces.Count];
        float lowest = float.MaxValue, highest = float.Epsilon;
        foreach (SentencePieceFile.Piece piece in file.Pieces)
        {
            if (piece.Kind != PieceKind.Normal) continue;
            lowest = Math.Min(lowest, piece.Score);
            highest = Math.Max(highest, piece.Score);
        }
        for (int id = 0; id < scores.Length; id++)
        {
            SentencePieceFile.Piece piece = file.Pieces[id];
            // A user-defined piece has a bonus that makes it win.
            scores[id] = piece.Kind == PieceKind.UserDefined
                ? (System.Text.Encoding.UTF8.GetByteCount(piece.Text) * highest) - 0.1
                : piece.Score;
        }
        int unknownId = file.Pieces.FindIndex(p => p.Kind == PieceKind.Unknown);
        IEnumerable<(string, int)> usable = pieces.Where(p => file.Pieces[p.Value].Kind != PieceKind.Unused).Select(p => (p.Key, p.Value));
        return new(usable, scores, lowest, unknownId, single: true);
    }

    // SentencePiece merges two symbols when their texts together are a piece, the piece of the highest score first. So every way to cut
    // a piece in two symbols is a rule, and rules of equal score have equal priority.
    private (PairMerger Merger, int[] Outputs) CreateMerger(
        SentencePieceFile file, Dictionary<string, int> pieces, Dictionary<string, int> reserved)
    {
        Dictionary<string, int> symbols = new(pieces, StringComparer.Ordinal);
        List<int> outputs = [.. Enumerable.Range(0, file.Pieces.Count)];
        foreach ((string text, int id) in pieces)
        {
            outputs[id] = reserved.GetValueOrDefault(text, id);
            foreach (System.Text.Rune rune in text.EnumerateRunes())
                if (symbols.TryAdd(rune.ToString(), outputs.Count)) outputs.Add(_unknownId);
        }
        foreach (string text in reserved.Keys)
            if (System.Text.Rune.TryGetRuneAt(text, 0, out System.Text.Rune rune) && rune.Utf16SequenceLength == text.Length
                && symbols.TryAdd(text, outputs.Count)) outputs.Add(reserved[text]);
        foreach ((string text, int symbol) in symbols)
        {
            if (!System.Text.Rune.TryGetRuneAt(text, 0, out System.Text.Rune rune) || rune.Utf16SequenceLength != text.Length) continue;
            _symbols.TryAdd(rune.Value, symbol);
            if (symbol >= file.Pieces.Count && reserved.TryGetValue(text, out int id)) outputs[symbol] = id;
        }

        int[] order = new int[file.Pieces.Count];
        float[] scores = [.. file.Pieces.Select(p => p.Score)];
        int[] byScore = [.. Enumerable.Range(0, scores.Length).OrderByDescending(i => scores[i])];
        for (int i = 1; i < byScore.Length; i++) order[byScore[i]] = order[byScore[i - 1]] + (scores[byScore[i]] == scores[byScore[i - 1]] ? 0 : 1);

        PairTable pairs = new(file.Pieces.Count * 4);
        Dictionary<string, int>.AlternateLookup<ReadOnlySpan<char>> find = symbols.GetAlternateLookup<ReadOnlySpan<char>>();
        bool[] unused = new bool[outputs.Count];
        foreach ((string text, int id) in pieces)
        {
            unused[id] = file.Pieces[id].Kind == PieceKind.Unused;
            int previous = -1;
            for (int at = 0; at < text.Length;)
            {
                int codePoint = WellFormed.CodePointAt(text, at, out int length);
                int symbol = _symbols.Of(codePoint);
                if (previous >= 0)
                {
                    pairs.SetAdjacent(previous, symbol);
                    if (find.TryGetValue(text.AsSpan(0, at), out int left) && find.TryGetValue(text.AsSpan(at), out int right)) pairs.Set(left, right, id);
                }
                previous = symbol;
                at += length;
            }
        }
        int[] results = [.. Enumerable.Range(0, file.Pieces.Count)];
        bool hasUnused = Array.IndexOf(unused, true) >= 0;
        int[]? lengths = null;
        if (hasUnused)
        {
            lengths = new int[outputs.Count];
            foreach ((string text, int symbol) in symbols) lengths[symbol] = text.Length;
        }
        return (new(pairs, order, results, hasGaps: true, hasUnused ? unused : null, lengths), [.. outputs]);
    }

    /// <summary>Piece → token: unknown text becomes its bytes, or else one token for the whole run.</summary>
    private ref struct Receiver(SentencePieceEncoder encoder, TextBuffer text, TokenSink tokens) : UnigramSearch.IReceiver
    {
        private bool _afterUnknown;

        public void Add(int id, int start, int end)
        {
            if (id != encoder._unknownId)
            {
                _afterUnknown = false;
                tokens.Add(id, text, start, end);
                return;
            }
            if (encoder._hasByteFallback)
            {
                Span<byte> bytes = stackalloc byte[4];
                for (int at = start; at < end;)
                {
                    int count = Utf8Reader.Write(WellFormed.CodePointAt(text.Span, at, out int length), bytes);
                    foreach (byte b in bytes[..count]) tokens.Add(encoder._byteIds[b], text, at, at + length);
                    at += length;
                }
            }
            else if (_afterUnknown)
            {
                tokens.ExtendLast(text, start, end);
            }
            else
            {
                tokens.Add(id, text, start, end);
            }
            _afterUnknown = true;
        }
    }
}
