using Fude.Tokenizers.Text;
using static Fude.Tokenizers.Wording;

namespace Fude.Tokenizers.Pieces;

/// <summary>The Unigram model of Hugging Face's library: every entry of the vocabulary may stand in text, byte pieces and specials too.</summary>
internal sealed class UnigramModel : PieceModel
{
    private readonly UnigramSearch _search;
    private readonly Vocabulary _vocabulary;
    private readonly int _unknownId;
    private readonly int[]? _byteIds;

    internal UnigramModel(Vocabulary vocabulary, double[] scores, int unknownId, bool hasByteFallback)
    {
        _vocabulary = vocabulary;
        _unknownId = unknownId;
        _byteIds = hasByteFallback ? vocabulary.ByteIds.ToArray() : null;
        double lowest = double.PositiveInfinity;
        foreach (double score in scores) lowest = Math.Min(lowest, score);
        _search = new(LastFirst(vocabulary, scores.Length), scores, lowest, unknownId, single: false);
    }

    // Of entries with the same text the last one counts there.
    private static IEnumerable<(string Text, int Id)> LastFirst(Vocabulary vocabulary, int count)
    {
        for (int id = count - 1; id >= 0; id--) yield return (vocabulary.TextOf(id)!, id);
    }

    internal override void Encode(TextBuffer text, int start, int end, Workspace workspace)
    {
        Receiver receiver = new(this, text, workspace.Tokens);
        _search.Run(text.Span, start, end, workspace.Lattice, ref receiver);
        receiver.Flush();
    }

    /// <summary>Neighbouring unknown characters are one; it becomes bytes, or else the unknown token.</summary>
    private ref struct Receiver(UnigramModel model, TextBuffer text, TokenSink tokens) : UnigramSearch.IReceiver
    {
        private int _unknownStart = -1, _unknownEnd;

        public void Add(int id, int start, int end)
        {
            if (id == model._unknownId)
            {
                if (_unknownStart < 0) _unknownStart = start;
                _unknownEnd = end;
                return;
            }
            Flush();
            tokens.Add(id, text, start, end);
        }

        public void Flush()
        {
            if (_unknownStart < 0) return;
            (int start, int end) = (_unknownStart, _unknownEnd);
            _unknownStart = -1;
            int known = model._vocabulary.ModelIdOf(text.Span[start..end]);
            if (known < 0 && model._byteIds is not null && TryBytes(start, end)) return;
            int id = known >= 0 ? known : model._unknownId;
            if (id < 0)
                throw new InvalidDataException(Say(
                    $"The text has \"{text.Span[start..Math.Min(end, start + 20)]}\", which the Unigram model does not have, and its unk_id is null.",
                    $"テキストの \"{text.Span[start..Math.Min(end, start + 20)]}\" が Unigram モデルの語彙になく、unk_id も null です。"));
            tokens.Add(id, text, start, end);
        }

        private readonly bool TryBytes(int start, int end)
        {
            int before = tokens.Count;
            Span<byte> bytes = stackalloc byte[4];
            for (int at = start, length; at < end; at += length)
            {
                int count = Utf8Reader.Write(WellFormed.CodePointAt(text.Span, at, out length), bytes);
                foreach (byte b in bytes[..count])
                {
                    int id = model._byteIds![b];
                    if (id < 0)
                    {
                        tokens.Remove(before, tokens.Count);
                        return false;
                    }
                    tokens.Add(id, text, at, at + length);
                }
            }
            return true;
        }
    }
}
