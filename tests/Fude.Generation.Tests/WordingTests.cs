using System.Runtime.CompilerServices;
using Fude.TestData;

namespace Fude.Generation.Tests;

public sealed class WordingTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    [ModuleInitializer]
    internal static void BeEnglish() => UserLanguage.BeEnglish();

    public static TheoryData<GenerationOptions, string, string> Settings() => new()
    {
        { new() { Temperature = 0, DoSample = true }, "temperature is 0; expected a number of at least ", "temperature が 0 です（必要: " },
        { new() { TopK = -1 }, "top_k is -1; expected a whole number of at least 0.", "top_k が -1 です（必要: 0 以上の整数）。" },
        { new() { TopP = 1.5 }, "top_p is 1.5; expected a number from 0 to 1.", "top_p が 1.5 です（必要: 0 から 1 までの数）。" },
        { new() { LengthPenalty = double.NaN }, "length_penalty is NaN; expected a finite number.", "length_penalty が NaN です（必要: 有限の数）。" },
        { new() { NumBeams = 4, NumBeamGroups = 3, DiversityPenalty = 1 }, "num_beams 4 is not a multiple of num_beam_groups 3.", "num_beams 4 が num_beam_groups 3 の倍数ではありません。" },
        { new() { NumReturnSequences = 2 }, "num_return_sequences 2 needs do_sample or num_beams", "num_return_sequences 2 には do_sample か、それ以上の num_beams が必要です。" },
        { new() { MaxNewTokens = 99 }, "The prompt's 3 tokens and max_new_tokens 99 make 102, but the model reads at most 100, and the last new token it need not read. Shorten the prompt, or set max_new_tokens to 98 at most.",
            "プロンプトの 3 トークンと max_new_tokens 99 を合わせると 102 になり、モデルが読める 100 を超えます（最後の 1 個は読まれません）。プロンプトを短くするか、max_new_tokens を 98 以下にしてください。" },
        { new() { MaxLength = 3 }, "The prompt has 3 tokens and max_length is 3, which leaves nothing to write. Set max_new_tokens.",
            "プロンプトが 3 トークンあり、max_length が 3 のため、何も書けません。max_new_tokens を指定してください。" },
        { new() { EosTokenId = [2, 100] }, "eos_token_id holds id 100, which is not in the model's vocabulary of 100.", "eos_token_id の ID 100 がモデルの語彙（100 語）にありません。" },
        { new() { Seed = 1, TorchSeed = 1 }, "seed and torch_seed exclude each other.", "seed と torch_seed は同時に指定できません。" },
    };

    [Theory, MemberData(nameof(Settings))]
    public void Settings_out_of_their_range_are_told_in_both_languages(GenerationOptions options, string english, string japanese) =>
        UserLanguage.Fails(() => GenerationSettings.Resolve(options, 3, 100, 100), english, japanese);

    [Fact]
    public void Prompts_that_do_not_fit_are_told_in_both_languages()
    {
        UserLanguage.Fails(() => GenerationSettings.Resolve(new(), 0, 100, 100), "The prompt has no tokens, ", "プロンプトにトークンがありません。");
        UserLanguage.Fails(() => GenerationSettings.Resolve(new(), 101, 100, 100), "The prompt has 101 tokens, but the model reads at most 100. Shorten the prompt.",
            "プロンプトが 101 トークンあり、モデルが読める 100 トークンを超えています。プロンプトを短くしてください。");
    }

    [Theory]
    [InlineData("{", "is not JSON: line 1, column 2: ", "JSON になっていません: 1 行目の 2 文字目: ")]
    [InlineData("", "is not JSON: it is empty.", "JSON になっていません: 空です。")]
    [InlineData("""{"top_k": "many"}""", "'top_k' is \"many\"; expected a whole number.", "'top_k' が \"many\" です（必要: 整数）。")]
    [InlineData("""{"early_stopping": 3}""", "'early_stopping' is 3; expected true, false or \"never\".", "'early_stopping' が 3 です（必要: true、false、\"never\" のどれか）。")]
    [InlineData("""{"penalty_alpha": 0.6}""", "'penalty_alpha' is 0.6, which fude does not carry out.", "'penalty_alpha' の 0.6 には対応していません。")]
    [InlineData("""{"a_key_of_the_future": 1}""", "key 'a_key_of_the_future' is not one that fude knows", "キー 'a_key_of_the_future' を fude は知らないため")]
    public void A_generation_config_that_fude_does_not_carry_out_is_told_in_both_languages(string json, string english, string japanese)
    {
        string file = _folder.Write("generation_config.json", json);
        UserLanguage.Fails(() => GenerationOptions.Load(file), $"{file}: {english}", $"{file}: {japanese}");
    }

    [Fact]
    public void A_generation_config_that_is_no_object_is_told_by_what_it_is()
    {
        string file = _folder.Write("generation_config.json", "[1]");
        UserLanguage.Fails(() => GenerationOptions.Load(file), $"{file} holds a list; expected an object.", $"{file}: JSON のオブジェクトではなくリストです。");
    }

    public void Dispose() => _folder.Dispose();
}
