using System.Xml.Linq;
using Fude.TestData;

namespace Fude.Cli.Tests;

public sealed class ArchitectureTests
{
    // A room refers only to rooms before it (docs/ARCHITECTURE.md).
    private static readonly string[][] Layers =
    [
        ["Fude.Tokenizers", "Fude.Tensors"], ["Fude.Corpus", "Fude.Models"], ["Fude.Generation", "Fude.Training"], ["Fude.Cli"],
    ];

    private static readonly string Source = Path.Combine(TestFolders.Repository, "src");

    public static TheoryData<string, int> Rooms() =>
        new(from layer in Enumerable.Range(0, Layers.Length) from room in Layers[layer] select (room, layer));

    [Fact]
    public void Every_room_has_its_place() =>
        Assert.Empty(Directory.GetFiles(Source, "*.csproj", SearchOption.AllDirectories)
            .Select(Path.GetFileNameWithoutExtension).Except(Layers.SelectMany(rooms => rooms)));

    [Theory, MemberData(nameof(Rooms))]
    public void A_room_refers_only_to_rooms_before_it(string room, int layer)
    {
        IEnumerable<string?> references = XDocument.Load(Path.Combine(Source, room, $"{room}.csproj")).Descendants("ProjectReference")
            .Select(reference => Path.GetFileNameWithoutExtension((string?)reference.Attribute("Include")));
        Assert.All(references, name => Assert.Contains(name, Layers[..layer].SelectMany(rooms => rooms)));
    }

    [Fact]
    public void Nothing_that_a_file_can_provoke_is_told_in_one_language_alone() =>
        Assert.All(Layers.SelectMany(rooms => rooms), room => Assert.Empty(UserLanguage.OneLanguageIn(room)));
}
