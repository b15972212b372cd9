// Writes src/Fude.Tokenizers/Training/UnicodeScripts.bin from Scripts.txt of the Unicode Character Database.
//
//   dotnet run eng/UnicodeScripts/UnicodeScripts.cs -- Scripts.txt src/Fude.Tokenizers/Training/UnicodeScripts.bin
//
// The committed table is of Unicode 15.0.0, from Debian's package unicode-data 15.0.0 (/usr/share/unicode). Its licence is that of
// src/Fude.Tokenizers/Unicode/UnicodeTables.LICENSE.txt. The reader is src/Fude.Tokenizers/Training/UnicodeScripts.cs.
#:property PublishAot=false

using System.Globalization;
using System.IO.Compression;

const int CodePoints = 0x110000;
if (args.Length != 2)
{
    Console.Error.WriteLine("Usage: dotnet run eng/UnicodeScripts/UnicodeScripts.cs -- Scripts.txt OUTPUT");
    return 2;
}

// Numbers that the reader knows by name; every other script gets the next number in the order of the file.
List<string> scripts = ["Unknown", "Common", "Inherited", "Han", "Hiragana", "Katakana"];
byte[] scriptOf = new byte[CodePoints];
foreach (string line in File.ReadLines(args[0]))
{
    string[] fields = line.Split('#')[0].Split(';', StringSplitOptions.TrimEntries);
    if (fields.Length < 2) continue;
    if (!scripts.Contains(fields[1])) scripts.Add(fields[1]);
    string[] range = fields[0].Split("..");
    int first = int.Parse(range[0], NumberStyles.HexNumber, CultureInfo.InvariantCulture);
    int last = int.Parse(range[^1], NumberStyles.HexNumber, CultureInfo.InvariantCulture);
    scriptOf.AsSpan(first..(last + 1)).Fill(checked((byte)scripts.IndexOf(fields[1])));
}

// Runs of one script: script, then the length as a LEB128 number.
using MemoryStream runs = new();
for (int c = 0; c < CodePoints;)
{
    int end = c + 1;
    while (end < CodePoints && scriptOf[end] == scriptOf[c]) end++;
    runs.WriteByte(scriptOf[c]);
    int length = end - c;
    for (; length >= 0x80; length >>= 7) runs.WriteByte((byte)(length | 0x80));
    runs.WriteByte((byte)length);
    c = end;
}

byte[] packed = new byte[runs.Length];
if (!BrotliEncoder.TryCompress(runs.GetBuffer().AsSpan(0, (int)runs.Length), packed, out int size, quality: 11, window: 20))
    throw new InvalidDataException("The table did not compress.");
File.WriteAllBytes(args[1], packed.AsSpan(0, size).ToArray());
Console.Error.WriteLine($"{args[1]}: {size} bytes ({runs.Length} unpacked), {scripts.Count} scripts.");
return 0;
