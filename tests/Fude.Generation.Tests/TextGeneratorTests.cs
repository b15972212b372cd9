using System.Text;
using System.Text.Json;
using Fude.TestData;
using Fude.Tokenizers;

namespace Fude.Generation.Tests;

public sealed class TextGeneratorTests : IDisposable
{
    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    private readonly string _folder = Directory.CreateTempSubdirectory("fude-text-").FullName;

    [Fact]
    public async Task A_trained_model_writes_its_published_story()
    {
        string? stories = TestFolders.SharedData("models/stories260K-hf");
        Assert.SkipWhen(stories is null, "The trained checkpoint is not in a shared folder beside the checkout.");
        JsonElement expected = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(stories!, "greedy-256.json"))).RootElement;
        using TextGenerator generator = TextGenerator.Load(stories!);
        GenerationResult result = (await generator.GenerateAsync([1], new() { MaxNewTokens = 256 }, Stop))[0];
        Assert.Equal(GoldenJson.Integers(expected.GetProperty("ids")), result.Ids);
        Assert.Equal(File.ReadAllText(Path.Combine(stories!, "greedy-256.txt")).TrimEnd('\n'), result.Text);
        Assert.Equal(FinishReason.Length, result.Finish);
    }

    [Fact]
    public async Task A_stream_is_the_text_in_pieces_and_prompt_and_text_are_the_whole()
    {
        using TextGenerator generator = TextGenerator.Load(WithTokenizer());
        for (int seed = 0; seed < 20; seed++)
        {
            GenerationOptions options = Wild(seed);
            (List<string> pieces, GenerationResult result) = await Read(generator, [66, 300, 331], options);
            Assert.DoesNotContain("", pieces);
            Assert.Equal(result.Text, string.Concat(pieces));
            foreach (string piece in pieces)
            {
                Assert.False(char.IsLowSurrogate(piece[0]));
                Assert.False(char.IsHighSurrogate(piece[^1]));
            }
            string prompt = generator.Tokenizer!.Decode([66, 300, 331], skipSpecialTokens: true);
            string whole = generator.Tokenizer.Decode([66, 300, 331, .. result.Ids], skipSpecialTokens: true);
            if (!result.DroppedCharacter) Assert.Equal(whole, prompt + result.Text);
            else Assert.StartsWith(prompt + result.Text, whole, StringComparison.Ordinal);
            Assert.Equal(result.Ids, generator.Generate([66, 300, 331], options, Stop)[0].Ids);
        }
    }

    [Fact]
    public async Task A_length_limit_that_cuts_a_character_drops_its_beginning_and_says_so()
    {
        using TextGenerator generator = TextGenerator.Load(WithTokenizer());
        int[] bytes = [.. Encoding.UTF8.GetBytes("筆").Select(b => b + 3)];      // byte pieces begin at id 3
        foreach ((int count, string text, bool dropped) in ((int, string, bool)[])[(1, "", true), (2, "", true), (3, "筆", false),
            (4, "筆", true)])
        {
            GenerationOptions options = Forcing([.. bytes, bytes[0]], count);
            (List<string> pieces, GenerationResult result) = await Read(generator, [300], options);
            Assert.Equal(((int[])[.. bytes, bytes[0]])[..count], result.Ids);
            Assert.Equal(text, result.Text);
            Assert.Equal(text.Length > 0 ? [text] : [], pieces);
            Assert.Equal(dropped, result.DroppedCharacter);
        }
    }

    [Fact]
    public async Task A_stop_string_is_cut_out_and_no_part_of_it_is_streamed()
    {
        using TextGenerator generator = TextGenerator.Load(WithTokenizer());
        int[] ids = [.. Encoding.UTF8.GetBytes("吾輩は猫である。").Select(b => b + 3)];
        GenerationOptions options = Forcing(ids, ids.Length) with { StopStrings = ["猫では", "猫であ"] };
        (List<string> pieces, GenerationResult result) = await Read(generator, [300], options);
        Assert.Equal(["吾", "輩", "は"], pieces);
        Assert.Equal("吾輩は", result.Text);
        Assert.Equal(FinishReason.Stop, result.Finish);
        Assert.Equal(ids[..18], result.Ids);      // as far as 猫であ

        // What only looked like a stop string comes out when it proves not to be one, at the latest at the end.
        (pieces, result) = await Read(generator, [300], Forcing(ids, 15) with { StopStrings = ["猫である"] });
        Assert.Equal(["吾", "輩", "は", "猫で"], pieces);
        Assert.Equal(FinishReason.Length, result.Finish);
    }

    [Theory]
    [InlineData("<s>", "吾輩", 7)]
    [InlineData("輩<s>", "吾", 7)]
    [InlineData("<s>は", "吾輩", 10)]
    [InlineData("輩<s>は", "吾", 10)]
    [InlineData("輩は", "吾", 10)]        // what shows has it
    [InlineData("<s>猫", "吾輩は猫", 13)]
    public async Task A_stop_string_may_name_a_special_token_which_does_not_show(string stop, string text, int tokens)
    {
        using TextGenerator generator = TextGenerator.Load(WithTokenizer());
        int[] ids = [.. Encoding.UTF8.GetBytes("吾輩").Select(b => b + 3), 1, .. Encoding.UTF8.GetBytes("は猫").Select(b => b + 3)];
        (List<string> pieces, GenerationResult result) = await Read(generator, [300], Forcing(ids, ids.Length) with { StopStrings = [stop] });
        Assert.Equal(text, result.Text);
        Assert.Equal(text, string.Concat(pieces));
        Assert.Equal(ids[..tokens], result.Ids);
        Assert.Equal(tokens < ids.Length ? FinishReason.Stop : FinishReason.Length, result.Finish);
    }

    [Fact]
    public async Task Beams_keep_stop_strings_too()
    {
        using TextGenerator generator = TextGenerator.Load(WithTokenizer());
        int[] ids = [.. Encoding.UTF8.GetBytes("吾輩は猫").Select(b => b + 3)];
        GenerationOptions options = Forcing(ids, ids.Length) with { StopStrings = ["輩"], NumBeams = 2 };
        (List<string> pieces, GenerationResult result) = await Read(generator, [300], options);
        Assert.Equal(["吾"], pieces);
        Assert.Equal(FinishReason.Stop, result.Finish);
        Assert.NotNull(result.Score);
    }

    [Fact]
    public void A_character_that_the_prompt_begins_belongs_to_the_text_that_completes_it()
    {
        using TextGenerator generator = TextGenerator.Load(WithTokenizer());
        int[] ids = [.. Encoding.UTF8.GetBytes("筆").Select(b => b + 3)];
        GenerationResult result = generator.Generate([300, ids[0]], Forcing(ids[1..], 2), Stop)[0];
        Assert.Equal("筆", result.Text);
    }

    [Fact]
    public void A_folder_without_a_tokenizer_works_with_ids()
    {
        using TextGenerator generator = TextGenerator.Load(TestFolders.FindGolden("models/llama-mha")!);
        GenerationResult result = generator.Generate([66, 124], new() { MaxNewTokens = 3, DoSample = false }, Stop)[0];
        Assert.Equal(3, result.Ids.Count);
        Assert.Null(result.Text);
        Assert.Contains("tokenizer", Assert.Throws<NotSupportedException>(() => generator.Generate("猫", null, Stop)).Message,
            StringComparison.Ordinal);
        Assert.Throws<NotSupportedException>(() => generator.Generate([66], new() { StopStrings = ["猫"] }, Stop));
    }

    [Fact]
    public void Options_of_the_call_win_over_generation_config_which_wins_over_config()
    {
        string folder = WithTokenizer();
        File.WriteAllText(Path.Combine(folder, "generation_config.json"), """{"top_p": 0.5, "eos_token_id": [7, 8]}""");
        using TextGenerator generator = TextGenerator.Load(folder);
        Assert.Equal(0.5, generator.Defaults.TopP);
        Assert.Equal([7, 8], generator.Defaults.EosTokenId!);
        Assert.Equal(1, generator.Defaults.BosTokenId);      // config.json's
        Assert.Null(generator.Defaults.DoSample);
        GenerationOptions merged = new GenerationOptions { TopP = 0.9, EosTokenId = [] }.Over(generator.Defaults);
        Assert.Equal(0.9, merged.TopP);
        Assert.Empty(merged.EosTokenId!);
    }

    [Theory]
    [InlineData("\"eos_token_id\": [50256, 7],", null, new[] { 7 })]     // one of a larger model's vocabulary never comes out
    [InlineData("", null, new[] { 2 })]                                       // transformers' LlamaConfig
    [InlineData("\"eos_token_id\": null,", null, new int[0])]
    [InlineData("", "{\"top_p\": 0.5}", null)]
    [InlineData("\"eos_token_id\": 5,", "{\"eos_token_id\": 99999}", new int[0])]
    public void The_end_token_is_what_the_files_say_within_the_vocabulary(string config, string? generation, int[]? expected)
    {
        using TemporaryFolder folder = new();
        string model = TestFolders.FindGolden("models/llama-mha")!;
        File.Copy(Path.Combine(model, "model.safetensors"), Path.Combine(folder.Path, "model.safetensors"));
        string[] lines = File.ReadAllLines(Path.Combine(model, "config.json"));
        File.WriteAllText(Path.Combine(folder.Path, "config.json"),
            "{" + config + string.Join('\n', lines.Where(line => !line.Contains("eos_token_id", StringComparison.Ordinal)))[1..]);
        if (generation is not null) File.WriteAllText(Path.Combine(folder.Path, "generation_config.json"), generation);
        using TextGenerator generator = TextGenerator.Load(folder.Path);
        Assert.Equal(expected, generator.Defaults.EosTokenId);
    }

    [Fact]
    public void A_prompt_longer_than_the_context_is_an_error_that_names_the_numbers()
    {
        using TextGenerator generator = TextGenerator.Load(TestFolders.FindGolden("models/llama-mha")!);
        int[] prompt = [.. Enumerable.Repeat(5, 200)];
        string message = Assert.Throws<ArgumentException>(() => generator.Generate(prompt, new() { MaxNewTokens = 1 }, Stop)).Message;
        Assert.Contains("200", message, StringComparison.Ordinal);
        Assert.Contains("160", message, StringComparison.Ordinal);
        Assert.Throws<ArgumentException>(() => generator.Generate(Array.Empty<int>(), new() { MaxNewTokens = 1 }, Stop));
        Assert.Equal(11, generator.Generate(prompt[..150], new() { MaxNewTokens = 11, EosTokenId = [] }, Stop)[0].Ids.Count);
        Assert.Throws<ArgumentException>(() => generator.Generate(prompt[..150], new() { MaxNewTokens = 12, EosTokenId = [] }, Stop));
    }

    [Fact]
    public async Task A_stream_can_be_cancelled_and_left_early()
    {
        using TextGenerator generator = TextGenerator.Load(WithTokenizer());
        using CancellationTokenSource stop = new();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(async () =>
        {
            await foreach (GenerationUpdate _ in generator.StreamUpdates([300], Wild(1) with { MaxNewTokens = 150 },
                stop.Token)) await stop.CancelAsync();
        });
        await foreach (GenerationUpdate update in generator.StreamUpdates([300], Wild(1) with { MaxNewTokens = 150 }, Stop))
        {
            Assert.Null(update.Result);
            break;
        }
        Assert.Equal(4, generator.Generate([300], Wild(1) with { MaxNewTokens = 4 }, Stop)[0].Ids.Count);
    }

    [Fact]
    public async Task A_stream_is_of_one_text() => await Assert.ThrowsAsync<ArgumentException>(async () =>
    {
        using TextGenerator generator = TextGenerator.Load(WithTokenizer());
        await foreach (string _ in generator.Stream("猫", new() { DoSample = true, NumReturnSequences = 2, MaxNewTokens = 2 },
            Stop)) Assert.Fail("a piece came");
    });

    /// <summary>The text layer alone: any ids, any stop strings, fed one by one, against the plain definition on the whole text.</summary>
    [Fact]
    public void Assembling_piece_by_piece_gives_the_text_up_to_the_first_stop_string()
    {
        Tokenizer tokenizer = Tokenizer.Load(Path.Combine(TestFolders.Golden, "tokenizers", "spm-bpe-llama2-like", "tokenizer.model"));
        Random random = new(11);
        byte[] utf8 = Encoding.UTF8.GetBytes("𠮷野家で👩‍👩‍👧とｶﾅの猫abab。");
        for (int round = 0; round < 300; round++)
        {
            int[] ids = [.. Enumerable.Range(0, random.Next(1, 60)).Select(i => random.Next(3) == 0 ? random.Next(3, 3600)
                : utf8[i % utf8.Length] + 3)];
            int[] prompt = [.. Enumerable.Range(0, random.Next(0, 4)).Select(_ => random.Next(259, 3600))];
            string whole = tokenizer.Decode([.. prompt, .. ids], skipSpecialTokens: true),
                before = tokenizer.Decode(prompt, skipSpecialTokens: true);
            string text = whole[before.Length..];
            string[] stops = [.. Enumerable.Range(0, random.Next(3)).Select(_ => Part(random, text)).Where(s => s.Length > 0)];
            int cut = stops.Select(s => text.IndexOf(s, StringComparison.Ordinal)).Where(at => at >= 0).DefaultIfEmpty(text.Length).Min();

            List<string> pieces = [];
            TextAssembler assembler = new(tokenizer, prompt, stops, pieces.Add);
            foreach (int id in ids)
                if (assembler.Push(id)) break;
            assembler.Finish(FinishReason.Stop);
            Assert.Equal(text[..cut], assembler.Text);
            Assert.Equal(assembler.Text, string.Concat(pieces));
            Assert.DoesNotContain("", pieces);
            Assert.Equal(cut < text.Length || stops.Any(s => text.EndsWith(s, StringComparison.Ordinal)), assembler.HasStopped);
        }

        static string Part(Random random, string text)
        {
            int first = random.Next(text.Length + 1);
            return text.Substring(first, random.Next(Math.Min(4, text.Length - first) + 1));
        }
    }

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    /// <summary>Temperature so high that byte pieces, and with them broken characters, come often.</summary>
    private static GenerationOptions Wild(int seed) => new()
    {
        DoSample = true,
        Seed = seed,
        Temperature = 20,
        TopK = 0,
        TopP = 1,
        MaxNewTokens = 5 + seed,
        EosTokenId = [],
    };

    /// <summary>Biases that leave the model no choice but one sequence after the prompt 300.</summary>
    private static GenerationOptions Forcing(int[] ids, int count) => new()
    {
        DoSample = false,
        EosTokenId = [],
        MaxNewTokens = count,
        SequenceBias = [.. Enumerable.Range(0, Math.Min(count, ids.Length)).Select(i =>
            new SequenceBias([.. (int[])[.. i == 0 ? [] : ids[..i]], ids[i]], 1000 * (i + 1)))],
    };

    private static async Task<(List<string> Pieces, GenerationResult Result)> Read(TextGenerator generator, int[] prompt,
        GenerationOptions options)
    {
        List<string> pieces = [];
        GenerationResult? result = null;
        await foreach (GenerationUpdate update in generator.StreamUpdates(prompt, options, Stop))
        {
            if (update.Result is null) pieces.Add(update.Text);
            else result = update.Result;
        }
        return (pieces, result!);
    }

    /// <summary>A tiny random model beside a tokenizer whose first 384 ids are its vocabulary.</summary>
    private string WithTokenizer()
    {
        foreach (string file in Directory.EnumerateFiles(TestFolders.FindGolden("models/llama-mha")!))
            File.Copy(file, Path.Combine(_folder, Path.GetFileName(file)), overwrite: true);
        File.Copy(Path.Combine(TestFolders.Golden, "tokenizers", "spm-bpe-llama2-like", "tokenizer.model"),
            Path.Combine(_folder, "tokenizer.model"), overwrite: true);
        return _folder;
    }
}
