namespace Fude.Generation.Tests;

public sealed class GenerationSettingsTests
{
    [Fact]
    public void What_is_not_set_has_transformers_default()
    {
        GenerationSettings settings = Resolve(new());
        Assert.Equal(20, settings.MaxLength);
        Assert.Equal(50, settings.TopK);
        Assert.Equal((1, 1, 1f, 1.0, 1f), (settings.NumBeams, settings.NumReturnSequences, settings.Temperature, settings.TopP,
            settings.RepetitionPenalty));
        Assert.False(settings.DoSample);
        Assert.True(LogitsProcessors.AreNone(settings));
        Assert.NotEqual(Resolve(new()).Seed, settings.Seed);
    }

    [Fact]
    public void A_temperature_of_0_is_of_no_account_where_nothing_is_drawn() => Assert.Equal(1, Resolve(new() { Temperature = 0 }).Temperature);

    public static TheoryData<string, GenerationOptions> Wrong() => new()
    {
        { "temperature", new() { Temperature = 0, DoSample = true } },
        { "temperature", new() { Temperature = -1 } },
        { "temperature", new() { Temperature = double.NaN } },
        { "temperature", new() { Temperature = 1e-30 } },
        { "top_k", new() { TopK = -1 } },
        { "top_p", new() { TopP = 1.01 } },
        { "top_p", new() { TopP = double.NaN } },
        { "min_p", new() { MinP = -0.1 } },
        { "typical_p", new() { TypicalP = 0 } },
        { "epsilon_cutoff", new() { EpsilonCutoff = 2 } },
        { "eta_cutoff", new() { EtaCutoff = -2 } },
        { "repetition_penalty", new() { RepetitionPenalty = 0 } },
        { "presence_penalty", new() { PresencePenalty = double.PositiveInfinity } },
        { "no_repeat_ngram_size", new() { NoRepeatNgramSize = -1 } },
        { "max_new_tokens", new() { MaxNewTokens = 0 } },
        { "max_new_tokens", new() { MaxNewTokens = int.MaxValue } },
        { "max_length", new() { MaxLength = 3 } },
        { "max_length", new() { MaxLength = 1000 } },
        { "num_beams", new() { NumBeams = 0 } },
        { "num_beams", new() { NumBeams = int.MaxValue } },
        { "num_beam_groups", new() { NumBeams = 4, NumBeamGroups = 3, DiversityPenalty = 1 } },
        { "num_beam_groups", new() { NumBeams = 2, NumBeamGroups = 2, DiversityPenalty = 1, DoSample = true } },
        { "diversity_penalty", new() { NumBeams = 2, NumBeamGroups = 2 } },
        { "diversity_penalty", new() { DiversityPenalty = 1 } },
        { "num_return_sequences", new() { NumReturnSequences = 2 } },
        { "num_return_sequences", new() { NumReturnSequences = 3, NumBeams = 2 } },
        { "num_return_sequences", new() { NumReturnSequences = int.MaxValue, DoSample = true } },
        { "eos_token_id", new() { EosTokenId = [2, 100] } },
        { "bad_words_ids", new() { BadWordsIds = [[2], [-1]] } },
        { "bad_words_ids", new() { BadWordsIds = [[]] } },
        { "sequence_bias", new() { SequenceBias = [new([], 1)] } },
        { "suppress_tokens", new() { SuppressTokens = [100] } },
        { "exponential_decay_length_penalty", new() { ExponentialDecayLengthPenalty = new(1, 2) } },
        { "stop_strings", new() { StopStrings = [""] } },
        { "seed", new() { Seed = 1, TorchSeed = 1 } },
        { "torch_random", new() { TorchRandom = Fude.Tensors.TorchRandomPath.Mkl } },
        { "top_log_probabilities", new() { TopLogProbabilities = 5, NumBeams = 2 } },
    };

    [Theory, MemberData(nameof(Wrong))]
    public void A_value_out_of_its_range_is_an_error_that_names_it(string name, GenerationOptions options) =>
        Assert.Contains(name, Assert.Throws<ArgumentException>(() => Resolve(options)).Message, StringComparison.Ordinal);

    [Fact]
    public void Prompt_and_new_tokens_may_fill_the_context_and_one_more_that_is_never_read()
    {
        Assert.Equal(101, Resolve(new() { MaxNewTokens = 98 }).MaxLength);
        string message = Assert.Throws<ArgumentException>(() => Resolve(new() { MaxNewTokens = 99 })).Message;
        Assert.Contains("98", message, StringComparison.Ordinal);
        Assert.Contains("100", message, StringComparison.Ordinal);
    }

    [Fact]
    public void Of_two_lengths_the_one_given_nearer_to_the_call_holds()
    {
        GenerationOptions file = new() { MaxLength = 90, MinLength = 5 };
        Assert.Equal(10, Resolve(new GenerationOptions { MaxNewTokens = 7 }.Over(file)).MaxLength);
        Assert.Equal(40, Resolve(new GenerationOptions { MaxLength = 40 }.Over(new() { MaxNewTokens = 7 })).MaxLength);
        Assert.Equal(0, Resolve(new GenerationOptions { MinNewTokens = 2 }.Over(file)).MinLength);
        Assert.Equal(90, Resolve(new GenerationOptions().Over(file)).MaxLength);
        Assert.Equal(7, Resolve(new GenerationOptions { Seed = 7 }.Over(new() { TorchSeed = 3 })).Seed);
    }

    [Fact]
    public void Every_option_of_the_fallback_comes_through_where_the_call_is_silent()
    {
        GenerationOptions all = new();
        foreach (System.Reflection.PropertyInfo property in typeof(GenerationOptions).GetProperties())
        {
            Type type = Nullable.GetUnderlyingType(property.PropertyType) ?? property.PropertyType;
            object value = type == typeof(bool) ? true
                : type == typeof(int) ? 3
                : type == typeof(long) ? 3L
                : type == typeof(double) ? 0.5
                : type.IsEnum ? Enum.GetValues(type).GetValue(1)!
                : type == typeof(ExponentialDecay) ? new ExponentialDecay(1, 2)
                : type == typeof(IReadOnlyList<int>) ? new int[] { 1 }
                : type == typeof(IReadOnlyList<string>) ? new[] { "猫" }
                : type == typeof(IReadOnlyList<SequenceBias>) ? new[] { new SequenceBias([1], 1) }
                : type == typeof(IReadOnlyList<IReadOnlyList<int>>) ? new int[][] { [1] }
                : throw new NotSupportedException(type.Name);
            property.SetValue(all, value);
        }
        Assert.Equal(all, new GenerationOptions().Over(all));
        Assert.Equal(all, all.Over(new()));
    }

    private static GenerationSettings Resolve(GenerationOptions options) =>
        GenerationSettings.Resolve(options, promptLength: 3, vocabulary: 100, context: 100);
}
