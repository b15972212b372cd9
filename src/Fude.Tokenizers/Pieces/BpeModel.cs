using System.Globalization;
using System.Text;
using Fude.Tokenizers.Text;
using static Fude.Tokenizers.Wording;

namespace Fude.Tokenizers.Pieces;

/// <summary>The BPE model of Hugging Face's library: characters (or their bytes, or the unknown token) merged by a list of pairs.</summary>
internal sealed class BpeModel : PieceModel
{
    private const int NoUnknown = -1;

    private readonly Vocabulary _vocabulary;
    private readonly PairMerger _merger;
    private readonly SymbolTable _symbols = new();
    private readonly int[]? _byteIds;
    private readonly int _unknownId;
    private readonly Options _options;

    /// <summary>Prepares the model.</summary>
    /// <param name="vocabulary">Ids of symbols.</param>
    /// <param name="merges">The pairs in order.</param>
    /// <param name="options">What else the file says.</param>
    /// <param name="source">The file's name, for errors.</param>
    /// <exception cref="InvalidDataException">A merge has a part, or makes a piece, that is not in the vocabulary.</exception>
    internal BpeModel(Vocabulary vocabulary, IReadOnlyList<(string Left, string Right)> merges, Options options, string source)
    {
        _vocabulary = vocabulary;
        _options = options;
        _unknownId = options.UnknownToken is string unknown ? vocabulary.IdOf(unknown) : NoUnknown;
        if (options.UnknownToken is not null && _unknownId < 0)
            throw new InvalidDataException(Say(
                $"{source}: unk_token \"{options.UnknownToken}\" is not in the vocabulary.",
                $"{source}: unk_token \"{options.UnknownToken}\" が語彙にありません。"));
        if (options.HasByteFallback) _byteIds = vocabulary.ByteIds.ToArray();
        for (int id = 0; id < vocabulary.Size; id++)
        {
            string? text = vocabulary.TextOf(id);
            if (text is { Length: 1 or 2 } && Rune.TryGetRuneAt(text, 0, out Rune rune) && rune.Utf16SequenceLength == text.Length)
                _symbols.TryAdd(rune.Value, id);
        }

        bool isPlain = options.SubwordPrefix.Length == 0 && options.WordSuffix.Length == 0;
        PairTable pairs = new(merges.Count * 2);
        int[] priorities = new int[merges.Count], results = new int[merges.Count];
        for (int i = 0; i < merges.Count; i++)
        {
            (string left, string right) = merges[i];
            int leftId = vocabulary.IdOf(left), rightId = vocabulary.IdOf(right);
            if (leftId < 0 || rightId < 0) throw Missing(i, left, right, leftId < 0 ? left : right);
            string whole = left + (right.StartsWith(options.SubwordPrefix, StringComparison.Ordinal) ? right[options.SubwordPrefix.Length..] : right);
            results[i] = vocabulary.IdOf(whole);
            if (results[i] < 0) throw Missing(i, left, right, whole);
            priorities[i] = i;
            pairs.Set(leftId, rightId, i);
            if (isPlain) SetAdjacent(pairs, left, leftId, right, rightId);
        }
        _merger = new(pairs, priorities, results, hasGaps: isPlain);

        InvalidDataException Missing(int rank, string left, string right, string piece) => new(Say(
            string.Create(CultureInfo.InvariantCulture, $"{source}: merge {rank} (\"{left}\" + \"{right}\") needs \"{piece}\", which is not in the vocabulary."),
            string.Create(CultureInfo.InvariantCulture, $"{source}: マージ {rank}（\"{left}\" + \"{right}\"）に必要な \"{piece}\" が語彙にありません。")));
    }

    // The symbols that a merge puts side by side: the last of the left part and the first of the right one. A part is made of its
    // characters, or is a symbol itself (a byte piece, the unknown token).
    private void SetAdjacent(PairTable pairs, string left, int leftId, string right, int rightId)
    {
        if (left.Length == 0 || right.Length == 0) return;
        int last = _symbols.Of(WellFormed.CodePointBefore(left, left.Length)), first = _symbols.Of(WellFormed.CodePointAt(right, 0, out _));
        Put(last, first);
        if (_byteIds is null && _unknownId < 0) return;
        Put(leftId, first);
        Put(last, rightId);
        Put(leftId, rightId);

        void Put(int before, int after)
        {
            if (before >= 0 && after >= 0) pairs.SetAdjacent(before, after);
        }
    }

    internal override void Encode(TextBuffer text, int start, int end, Workspace workspace)
    {
        if (start == end) return;
        ReadOnlySpan<char> all = text.Span;
        if (_options.IgnoresMerges)
        {
            int whole = _vocabulary.ModelIdOf(all[start..end]);
            if (whole >= 0)
            {
                workspace.Tokens.Add(whole, text, start, end);
                return;
            }
        }
        PairMerger.Line line = workspace.Line;
        line.Clear();
        bool isPlain = _options.SubwordPrefix.Length == 0 && _options.WordSuffix.Length == 0;
        int unknownStart = -1;
        Span<byte> bytes = stackalloc byte[4];
        for (int at = start, length; at < end; at += length)
        {
            int codePoint = WellFormed.CodePointAt(all, at, out length);
            int symbol = isPlain ? _symbols.Of(codePoint) : DressedSymbol(all.Slice(at, length), isFirst: at == start, isLast: at + length == end);
            if (symbol >= 0)
            {
                if (unknownStart >= 0) line.Add(_unknownId, unknownStart);
                unknownStart = -1;
                line.Add(symbol, at);
                continue;
            }
            if (_byteIds is not null)
            {
                // Its bytes, if the vocabulary has all of them.
                int count = Utf8Reader.Write(codePoint, bytes), missing = 0;
                foreach (byte b in bytes[..count]) missing += _byteIds[b] < 0 ? 1 : 0;
                if (missing == 0)
                {
                    foreach (byte b in bytes[..count]) line.Add(_byteIds[b], at);
                    continue;
                }
            }
            if (_unknownId < 0) continue;       // the reference drops it
            if (unknownStart >= 0 && _options.FusesUnknown) continue;
            if (unknownStart >= 0) line.Add(_unknownId, unknownStart);
            unknownStart = at;
        }
        if (unknownStart >= 0) line.Add(_unknownId, unknownStart);
        _merger.Run(line);
        ReadOnlySpan<PairMerger.Symbol> symbols = line.Symbols.AsSpan(0, line.Count);
        for (int i = 0; i < symbols.Length; i++)
        {
            int from = symbols[i].Start;
            // The bytes of one character all begin where it does: each of them stands for all of it.
            int to = end;
            for (int next = i + 1; next < symbols.Length; next++)
            {
                if (symbols[next].Start <= from) continue;
                to = symbols[next].Start;
                break;
            }
            workspace.Tokens.Add(symbols[i].Id, text, Math.Min(from, to), to);
        }
    }

    private int DressedSymbol(ReadOnlySpan<char> character, bool isFirst, bool isLast)
    {
        string dressed = string.Concat(isFirst ? "" : _options.SubwordPrefix, character, isLast ? _options.WordSuffix : "");
        return _vocabulary.ModelIdOf(dressed);
    }

    /// <summary>What the file says beside vocabulary and merges.</summary>
    /// <param name="UnknownToken">For characters that are not in the vocabulary; null: they are dropped.</param>
    /// <param name="FusesUnknown">Whether neighbouring unknown characters are one token.</param>
    /// <param name="HasByteFallback">Whether unknown characters become their bytes.</param>
    /// <param name="IgnoresMerges">Whether a stretch that is in the vocabulary is one token at once.</param>
    /// <param name="SubwordPrefix">In front of every character but the first of a word.</param>
    /// <param name="WordSuffix">Behind the last character of a word.</param>
    internal sealed record Options(
        string? UnknownToken, bool FusesUnknown, bool HasByteFallback, bool IgnoresMerges, string SubwordPrefix, string WordSuffix);
}
