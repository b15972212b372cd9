using Fude.Tensors;
using Fude.TestData;

namespace Fude.Training.Tests;

public sealed class RunIdentityTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    private static RunTrait[] Traits(params (string, string)[] traits) => [.. traits.Select(trait => new RunTrait(trait.Item1, trait.Item2))];

    [Fact]
    public void A_run_with_a_checkpoint_is_bound_to_what_it_began_with()
    {
        RunIdentity.Check(_folder.Path, Traits(("seed", "1"), ("data 1", "a")), hasBegun: false);
        RunIdentity.Check(_folder.Path, Traits(("seed", "1"), ("data 1", "a")));
        Assert.Contains("'2'", Refusal(("seed", "2"), ("data 1", "a")), StringComparison.Ordinal);
        Assert.Contains("data 2", Refusal(("seed", "1"), ("data 1", "a"), ("data 2", "b")), StringComparison.Ordinal);
        Assert.Contains("now there is none", Refusal(("seed", "1")), StringComparison.Ordinal);
    }

    [Fact]
    public void What_failed_before_its_first_step_binds_nobody()
    {
        RunIdentity.Check(_folder.Path, Traits(("seed", "1"), ("data 1", "a")), hasBegun: false);
        RunIdentity.Check(_folder.Path, Traits(("seed", "2")), hasBegun: false);
        RunIdentity.Check(_folder.Path, Traits(("seed", "2")));
    }

    [Fact]
    public void A_trait_that_earlier_versions_did_not_note_is_taken_as_it_is_now()
    {
        RunIdentity.Check(_folder.Path, Traits(("seed", "1")), hasBegun: false);
        RunIdentity.Check(_folder.Path, [.. Traits(("seed", "1")), Later("tokenizer", "x")]);
        Assert.Throws<InvalidDataException>(() => RunIdentity.Check(_folder.Path, [.. Traits(("seed", "1")), Later("tokenizer", "y")]));
    }

    [Fact]
    public void One_whose_value_was_known_before_it_was_noted_is_held_to_that()
    {
        RunIdentity.Check(_folder.Path, Traits(("seed", "1")), hasBegun: false);
        Assert.Contains("began with precision 'f32', and now it is 'bf16'",
            Assert.Throws<InvalidDataException>(() => RunIdentity.Check(_folder.Path, [.. Traits(("seed", "1")), RunIdentity.Precision(ProductPrecision.Bf16)])).Message, StringComparison.Ordinal);
        RunIdentity.Check(_folder.Path, [.. Traits(("seed", "1")), RunIdentity.Precision(ProductPrecision.F32)]);
        Assert.Contains("precision", File.ReadAllText(Path.Combine(_folder.Path, "identity.json")), StringComparison.Ordinal);
    }

    public void Dispose() => _folder.Dispose();

    private static RunTrait Later(string name, string value) => new(name, value) { IsLater = true };

    private string Refusal(params (string, string)[] traits) =>
        Assert.Throws<InvalidDataException>(() => RunIdentity.Check(_folder.Path, Traits(traits))).Message;
}
