using System.IO.Compression;
using System.Reflection;

namespace Fude.Tokenizers.Training;

/// <summary>The script of every code point, from Unicode 15.0.0 (written by eng/UnicodeScripts; licence: Unicode/UnicodeTables.LICENSE.txt).</summary>
internal static class UnicodeScripts
{
    /// <summary>Scripts that are known by name. Any other number is some other script.</summary>
    internal const byte Unknown = 0, Common = 1, Inherited = 2, Han = 3, Hiragana = 4, Katakana = 5;

    private static readonly byte[] Table = Load();

    /// <summary>The script of a code point; <see cref="Unknown"/> for what is not assigned.</summary>
    internal static byte Of(int codePoint) => (uint)codePoint < (uint)Table.Length ? Table[codePoint] : Unknown;

    private static byte[] Load()
    {
        using Stream resource = Assembly.GetExecutingAssembly().GetManifestResourceStream("Fude.Tokenizers.Training.UnicodeScripts.bin")
            ?? throw new InvalidOperationException("Fude.Tokenizers was built without its resource UnicodeScripts.bin.");
        using BrotliStream plain = new(resource, CompressionMode.Decompress);
        using MemoryStream bytes = new(4096);
        plain.CopyTo(bytes);
        ReadOnlySpan<byte> runs = bytes.GetBuffer().AsSpan(0, (int)bytes.Length);

        byte[] table = new byte[0x110000];
        int codePoint = 0;
        for (int i = 0; i < runs.Length;)
        {
            byte script = runs[i++];
            int length = 0;
            for (int shift = 0; ; shift += 7)
            {
                length |= (runs[i] & 0x7F) << shift;
                if (runs[i++] < 0x80) break;
            }
            table.AsSpan(codePoint, length).Fill(script);
            codePoint += length;
        }
        return table;
    }
}
