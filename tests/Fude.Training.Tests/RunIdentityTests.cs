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
        Assert.Contains("began with --seed 1, and now there is --seed 2. Give", Refusal(("seed", "2"), ("data 1", "a")), StringComparison.Ordinal);
        Assert.Contains("file number 2", Refusal(("seed", "1"), ("data 1", "a"), ("data 2", "b")), StringComparison.Ordinal);
        Assert.Contains("began with --data (file number 1), and now there is no file number 1 of --data.", Refusal(("seed", "1")), StringComparison.Ordinal);
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
        Assert.Contains("began with --precision f32, and now there is --precision bf16.",
            Assert.Throws<InvalidDataException>(() => RunIdentity.Check(_folder.Path, [.. Traits(("seed", "1")), RunIdentity.Precision(ProductPrecision.Bf16)])).Message, StringComparison.Ordinal);
        RunIdentity.Check(_folder.Path, [.. Traits(("seed", "1")), RunIdentity.Precision(ProductPrecision.F32)]);
        Assert.Contains("precision", File.ReadAllText(Path.Combine(_folder.Path, "identity.json")), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("AdamW", "AdamWOptions { Beta1 = 0.9, Beta2 = 0.995, Epsilon = 1E-08 }", "AdamWOptions { Beta1 = 0.9, Beta2 = 0.99, Epsilon = 1E-08 }", "--beta2 0.995", "--beta2 0.99")]
    [InlineData("AdamW", "AdamWOptions { Beta1 = 0.9, Beta2 = 0.995, Epsilon = 1E-08 }", "AdamWOptions { Beta1 = 0.8, Beta2 = 0.995, Epsilon = 1E-07 }", "--beta1 0.9, --epsilon 1E-08", "--beta1 0.8, --epsilon 1E-07")]
    [InlineData("loss", "LossForm { LabelSmoothing = 0, ZLoss = 0 }", "LossForm { LabelSmoothing = 0.1, ZLoss = 0 }", "--label-smoothing 0", "--label-smoothing 0.1")]
    [InlineData("preference", "PreferenceLoss { Form = Sigmoid, Beta = 0.1, LabelSmoothing = 0, PerToken = False }", "PreferenceLoss { Form = Ipo, Beta = 0.1, LabelSmoothing = 0, PerToken = True }", "--loss sigmoid, no --per-token", "--loss ipo, --per-token")]
    [InlineData("lora", "none", "rank 2, alpha 4, dropout 0, targets all", "no --lora-rank", "--lora-rank 2")]
    [InlineData("lora", "rank 2, alpha 4, dropout 0, targets all", "rank 2, alpha 8, dropout 0, targets q_proj v_proj, rank-stabilised", "--lora-alpha 4, no --lora-targets, no --lora-rslora", "--lora-alpha 8, --lora-targets q_proj,v_proj, --lora-rslora")]
    [InlineData("schedule", "Cosine", "WarmupStableDecay", "--schedule cosine", "--schedule wsd")]
    [InlineData("too long", "Split", "Error", "--too-long split", "--too-long error")]
    [InlineData("both speakers", "True", "False", "no --second-speaker-only", "--second-speaker-only")]
    [InlineData("last answer only", "False", "True", "no --last-answer-only", "--last-answer-only")]
    [InlineData("base format", "", "Q4_0", "no --weights", "--weights q4_0")]
    [InlineData("system", "", "猫として", "no --system", "--system \"猫として\"")]
    [InlineData("replay 1", "33307509 tokens, index 6f59589b83d5ad0f, share 0.5", "33307509 tokens, index 6f59589b83d5ad0f, share 0.25", "--replay-share 0.5", "--replay-share 0.25")]
    [InlineData("data 2", "d40ff155454ceef0, weight 1, 60 examples", "d40ff155454ceef0, weight 0.5, 60 examples", "--data here:1", "--data here:0.5")]
    [InlineData("data 2", "d40ff155454ceef0, weight 1, 60 examples", "21fd000000000000, weight 1, 9 examples",
        "other data in place of here (--data, number 2: 60 examples, fingerprint d40ff155454ceef0)", "here (9 examples, fingerprint 21fd000000000000)")]
    [InlineData("tokenizer", "a1", "b2", "tokenizer 'a1'", "tokenizer 'b2' (here; these are fingerprints of what the files hold)")]
    public void What_differs_is_told_as_it_was_given(string name, string before, string now, string was, string isNow)
    {
        RunIdentity.Check(_folder.Path, Traits((name, before)), hasBegun: false);
        string told = Assert.Throws<InvalidDataException>(() => RunIdentity.Check(_folder.Path, [new RunTrait(name, now, "here")])).Message;
        Assert.Contains($"began with {was}, and now there is {isNow}. Give what", told, StringComparison.Ordinal);
        Assert.DoesNotContain(" { ", told, StringComparison.Ordinal);
    }

    [Fact]
    public void What_earlier_versions_noted_of_preferences_for_nothing_binds_nobody()
    {
        RunIdentity.Check(_folder.Path, Traits(("preference", "PreferenceLoss { Form = Sigmoid }"), ("tokens per micro-batch", "4096"), ("seed", "2")), hasBegun: false);
        RunIdentity.Check(_folder.Path, Traits(("preference", "PreferenceLoss { Form = Sigmoid }"), ("seed", "2")));
        RunIdentity.Check(_folder.Path, Traits(("preference", ""), ("tokens per micro-batch", "4096")), hasBegun: false);
        Assert.Contains("--tokens-per-batch", Refusal(("preference", "")), StringComparison.Ordinal);
    }

    [Fact]
    public void A_run_of_another_command_is_called_that()
    {
        RunIdentity.Check(_folder.Path, Traits(("model", "x"), ("preference", ""), ("seed", "1")), hasBegun: false);
        UserLanguage.Fails(() => Check(("config", "x"), ("seed", "1")), $"{_folder.Path}: this folder holds a run of fude tune, not of fude train. Give another folder",
            $"{_folder.Path}: このフォルダーにあるのは fude tune の実行で、fude train のものではありません。");
        Assert.Contains("a run of fude tune, not of fude dpo", Refusal(("model", "y"), ("preference", "PreferenceLoss { Form = Sigmoid }"), ("seed", "2")), StringComparison.Ordinal);

        object? Check(params (string, string)[] traits)
        {
            RunIdentity.Check(_folder.Path, Traits(traits));
            return null;
        }
    }

    public void Dispose() => _folder.Dispose();

    private static RunTrait Later(string name, string value) => new(name, value) { IsLater = true };

    private string Refusal(params (string, string)[] traits) =>
        Assert.Throws<InvalidDataException>(() => RunIdentity.Check(_folder.Path, Traits(traits))).Message;
}
