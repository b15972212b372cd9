using System.Reflection;

namespace Fude.Cli.Tests;

public sealed class ArchitectureTests
{
    // A room refers only to rooms before it (docs/ARCHITECTURE.md).
    private static readonly string[][] Layers =
        [["Fude.Tokenizers", "Fude.Tensors"], ["Fude.Models"], ["Fude.Generation"], ["fude"]];

    public static TheoryData<string, int> Rooms() =>
        new(from layer in Enumerable.Range(0, Layers.Length) from room in Layers[layer] select (room, layer));

    [Theory, MemberData(nameof(Rooms))]
    public void A_room_refers_only_to_rooms_before_it(string room, int layer)
    {
        IEnumerable<string?> references = Assembly.Load(room).GetReferencedAssemblies().Select(reference => reference.Name)
            .Where(name => name!.StartsWith("Fude.", StringComparison.Ordinal) || name == "fude");
        Assert.All(references, name => Assert.Contains(name, Layers[..layer].SelectMany(rooms => rooms)));
    }
}
