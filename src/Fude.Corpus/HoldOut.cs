using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;
using Fude.Tokenizers.Files;
using Fude.Tokenizers.Training;
using static Fude.Tokenizers.Wording;

namespace Fude.Corpus;

/// <summary>How a source was divided.</summary>
/// <param name="Documents">Documents to train on.</param>
/// <param name="Characters">Their characters (code points).</param>
/// <param name="HeldOutDocuments">Documents held out.</param>
/// <param name="HeldOutCharacters">Their characters.</param>
/// <param name="BadLines">Broken lines that were passed over.</param>
public sealed record HoldOutReport(long Documents, long Characters, long HeldOutDocuments, long HeldOutCharacters, long BadLines)
{
    /// <summary>The first of the broken lines.</summary>
    public IReadOnlyList<BadLine> FirstBadLines { get; init; } = [];

    /// <summary>Records without a character of text, which were left out.</summary>
    public long Empty { get; init; }

    /// <summary>The first of these.</summary>
    public IReadOnlyList<BadLine> FirstEmpty { get; init; } = [];
}

/// <summary>Divides documents into those to train on and those that no training ever sees.</summary>
/// <remarks>
/// Which part a document belongs to is a function of its text alone: the first 8 bytes of its SHA-256, as a fraction of 2⁶⁴, are below the
/// share held out or not. So copies of a document are on one side, and a document stays where it is when others come and go.
/// </remarks>
public static class HoldOut
{
    /// <summary>Whether a document is held out.</summary>
    /// <param name="text">Its text.</param>
    /// <param name="share">The share of documents to hold out, from 0 to 1.</param>
    public static bool Holds(string text, double share) => PlaceOf(text) < share;

    private static double PlaceOf(string text)
    {
        Span<byte> hash = stackalloc byte[SHA256.HashSizeInBytes];
        SHA256.HashData(Encoding.UTF8.GetBytes(text), hash);
        return BinaryPrimitives.ReadUInt64BigEndian(hash) / Math.Pow(2, 64);
    }

    /// <summary>Writes both parts as JSONL with the one field "text", packed by gzip where the name ends in .gz; what other fields records have is left
    /// out. The files appear whole or not at all.</summary>
    /// <param name="source">What is divided.</param>
    /// <param name="train">The file for the documents to train on.</param>
    /// <param name="heldOut">The file for those held out.</param>
    /// <param name="share">The share of documents to hold out, from 0 to 1.</param>
    /// <param name="keep">The share of the others that is kept, for a source that would be too large a part of a mixture; 1 for all.</param>
    /// <param name="progress">Hears what share of the source has been read; null for silence.</param>
    /// <param name="stop">Ends the work; nothing is left behind.</param>
    /// <exception cref="ArgumentException">Both parts are one file, one is a file that is read, also through links, or one has a name of plain text.</exception>
    /// <exception cref="InvalidDataException">The source is broken.</exception>
    public static HoldOutReport Split(
        TrainingText source, string train, string heldOut, double share, double keep = 1, IProgress<double>? progress = null, CancellationToken stop = default)
    {
        ArgumentNullException.ThrowIfNull(source);
        if (!(share is >= 0 and < 1)) throw new ArgumentOutOfRangeException(nameof(share), Say(
            $"The share to hold out is {share}; from 0 to below 1 is expected.",
            $"取り分ける割合が {share} です。0 以上 1 未満にしてください。"));
        if (!(keep is > 0 and <= 1)) throw new ArgumentOutOfRangeException(nameof(keep), Say(
            $"The share to keep is {keep}; above 0 and at most 1 is expected.",
            $"残す割合が {keep} です。0 より大きく 1 以下にしてください。"));
        bool IsRead(string written) => source.Files.Any(file => RealPath.AreOne(file, written));
        string? twice = RealPath.AreOne(train, heldOut) || IsRead(train) ? train : IsRead(heldOut) ? heldOut : null;
        if (twice is not null)
            throw new ArgumentException(Say(
                $"{twice} would be written over: the files to train on, those held out and those that are read are different files, also where links lead to them.",
                $"{twice} が上書きされてしまいます。学習用、取り分け、読み込み元には（リンクの先も）別々のファイルを指定してください。"));
        if (Array.Find([train, heldOut], file => !TrainingText.IsJsonName(file)) is { } plain)
            throw new ArgumentException(Say(
                $"{plain}: documents are written as JSONL, and a file of this name would be read as plain text; name it .jsonl or .jsonl.gz.",
                $"{plain}: 文書は JSONL で書かれますが、この名前ではテキストとして読まれてしまいます。名前の末尾を .jsonl か .jsonl.gz にしてください。"));
        using DocumentFile first = new(train), second = new(heldOut);
        double kept = share + keep * (1 - share);
        TrainingText.Skips skipped = new(), empty = new();
        foreach (TextDocument document in source.Documents(progress, skipped.Add, empty.Add, stop))
        {
            double place = PlaceOf(document.Text);
            if (place < share) second.Add(document.Text);
            else if (place < kept) first.Add(document.Text);
        }
        first.Complete();
        second.Complete();
        return new HoldOutReport(first.Documents, first.Characters, second.Documents, second.Characters, skipped.Count) { FirstBadLines = skipped.First, Empty = empty.Count, FirstEmpty = empty.First };
    }

    private sealed class DocumentFile(string path) : IDisposable
    {
        private readonly JsonLinesFile _file = new(path);

        internal long Documents => _file.Lines;

        internal long Characters { get; private set; }

        internal void Add(string text)
        {
            _file.Add(json => json.WriteString("text", text));
            foreach (char c in text)
                if (!char.IsLowSurrogate(c)) Characters++;
        }

        internal void Complete() => _file.Complete();

        public void Dispose() => _file.Dispose();
    }
}
