// Writes tests/Fude.Tokenizers.Tests/Unicode/NormalizationTest.txt.br: every line of Unicode's NormalizationTest.txt without its comment,
// compressed.
//
//   bzcat /usr/share/unicode/NormalizationTest.txt.bz2 |
//     dotnet run eng/UnicodeTables/PackNormalizationTest.cs -- tests/Fude.Tokenizers.Tests/Unicode/NormalizationTest.txt.br
#:property PublishAot=false

using System.IO.Compression;
using System.Text;

StringBuilder lines = new();
while (Console.In.ReadLine() is string line)
{
    string content = line.Split('#')[0].Trim();
    if (content.Length > 0) lines.Append(content).Append('\n');
}
byte[] plain = Encoding.ASCII.GetBytes(lines.ToString()), packed = new byte[plain.Length];
if (!BrotliEncoder.TryCompress(plain, packed, out int size, quality: 11, window: 24))
    throw new InvalidDataException("It did not compress.");
File.WriteAllBytes(args[0], packed.AsSpan(0, size).ToArray());
