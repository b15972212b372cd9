using Fude.TestData;

namespace Fude.Cli.Tests;

/// <summary>The model that comes with fude: what is a model's name and what a text, and that it works.</summary>
public sealed class DefaultModelTests
{
    [Fact]
    public void A_word_alone_is_a_model_if_there_is_one_and_a_text_otherwise()
    {
        using TemporaryFolder folder = new();
        Assert.Equal((folder.Path, null), DefaultModel.Of(folder.Path, null, hasText: false));
        Assert.Equal((folder.Path, "吾輩は"), DefaultModel.Of(folder.Path, "吾輩は", hasText: false));
        Assert.Equal(((string?)null, "吾輩は"), DefaultModel.Of("吾輩は", null, hasText: false));
        Assert.Equal(((string?)null, null), DefaultModel.Of(null, null, hasText: false));
    }

    [Theory]
    [InlineData("model.gguf")]
    [InlineData("tokenizer.model")]
    [InlineData("tokenizer.json")]
    [InlineData("./model")]
    [InlineData("../model")]
    [InlineData("/no/such/model")]
    public void What_looks_like_a_path_is_a_model_even_where_it_is_not_there(string word) =>
        Assert.Equal((word, null), DefaultModel.Of(word, null, hasText: false));

    [Fact]
    public void With_a_text_of_its_own_a_word_alone_is_the_model() => Assert.Equal(("吾輩は", null), DefaultModel.Of("吾輩は", null, hasText: true));
}
