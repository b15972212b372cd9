using System.Diagnostics;
using System.Text.Json;
using Fude.TestData;
using Fude.Tokenizers.Training;

namespace Fude.Tokenizers.Tests.Training;

/// <summary>The files that are written, read again by fude and, where it is installed, by SentencePiece.</summary>
public sealed class TrainedTokenizerTests : IDisposable
{
    private static readonly TokenizerTrainerOptions Small = new() { VocabularySize = 620, CharacterCoverage = 0.999, Threads = 1 };
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    public static TheoryData<string, string> Cases() => new(
        from model in (string[])["unigram", "bpe"]
        from shape in (string[])["plain", "user-defined", "runs", "no-prefix", "trimmed", "nfkc", "suffix", "whole-lines", "no-bytes", "whitespace-only"]
        select (model, shape));

    private TrainedTokenizer Train(string model, string shape)
    {
        TokenizerTrainerOptions options = shape switch
        {
            "plain" => Small,
            "user-defined" => Small with { UserDefinedPieces = ["\n", "♪"], ControlPieces = ["<EOD>"], SplitDigits = true },
            "runs" => Small with { WhitespaceRuns = 8 },
            "no-prefix" => Small with { AddDummyPrefix = false, BeginPiece = null, PaddingPiece = "[PAD]" },
            "trimmed" => Small with { RemoveExtraWhitespaces = true },
            "nfkc" => Small with { Normalization = TrainerNormalization.Nfkc },
            "suffix" => Small with { TreatWhitespaceAsSuffix = true },
            "whole-lines" => Small with { SplitByWhitespace = false, SplitByUnicodeScript = false, SplitByNumber = false },
            "no-bytes" => Small with { ByteFallback = false, VocabularySize = 400 },
            _ => Small with { AllowWhitespaceOnlyPieces = true },
        };
        string file = _folder.WriteLines("text.txt", [.. TrainingSentences.Make(400, 3), .. TrainingSentences.GoldenLines()[..40].SelectMany(t => t.Split('\n'))]);
        TrainingText text = new(file);
        return model == "bpe" ? BpeTrainer.Train(text, options) : UnigramTrainer.Train(text, options);
    }

    [Theory, InlineData("unigram"), InlineData("bpe")]
    public void The_begin_piece_is_put_before_every_text_where_that_is_wished(string model)
    {
        string file = _folder.WriteLines("text.txt", [.. TrainingSentences.Make(200, 3)]);
        TokenizerTrainerOptions options = Small with { VocabularySize = 500, AddBegin = true };
        TrainedTokenizer trained = model == "bpe" ? BpeTrainer.Train(new(file), options) : UnigramTrainer.Train(new(file), options);
        trained.SaveHuggingFace(_folder.Path);
        Tokenizer read = Tokenizer.Load(_folder.Path);
        int[] with = read.Encode("猫である"), without = read.Encode("猫である", addSpecialTokens: false);
        Assert.Equal([1, .. without], with);
        Assert.Equal([1], read.Encode(""));
        Assert.Throws<ArgumentException>(() => UnigramTrainer.Train(new(file), options with { BeginPiece = null }));
    }

    private static string[] Probes => [.. TrainingSentences.GoldenLines(), .. TrainingSentences.Make(300, 4)];

    [Theory, MemberData(nameof(Cases))]
    public void The_model_is_read_back_piece_by_piece(string model, string shape)
    {
        TrainedTokenizer trained = Train(model, shape);
        string path = Path.Combine(_folder.Path, "tokenizer.model");
        trained.SaveSentencePiece(path);
        Tokenizer read = Tokenizer.Load(path);
        Assert.Equal(trained.Model, read.Model);
        Assert.Equal(trained.Pieces, read.Pieces);
        Assert.Equal(trained.Options.BeginPiece, read.BeginId is int begin ? read.TokenOf(begin) : null);
        Assert.Equal([path], Directory.GetFiles(_folder.Path, "tokenizer.model*"));
    }

    [Theory, MemberData(nameof(Cases))]
    public void Tokenizer_json_gives_the_ids_of_the_model(string model, string shape)
    {
        TrainedTokenizer trained = Train(model, shape);
        if (shape == "suffix")
        {
            Assert.Throws<NotSupportedException>(() => trained.SaveHuggingFace(_folder.Path));
            return;
        }
        string path = Path.Combine(_folder.Path, "tokenizer.model");
        trained.SaveSentencePiece(path);
        trained.SaveHuggingFace(_folder.Path);
        Tokenizer reference = Tokenizer.Load(path), json = Tokenizer.Load(Path.Combine(_folder.Path, "tokenizer.json"));
        Assert.Equal(trained.Pieces.Select(p => (p.Id, p.Text)), json.Pieces.Select(p => (p.Id, p.Text)));
        int compared = 0;
        foreach (string text in Probes)
        {
            // tokenizer.json finds special pieces in text, SentencePiece never does; and bytes by their names, where these could not be
            // spelled. NFKC there is by Unicode 9, and exact; SentencePiece takes rules one by one, and trims ▁ as well as spaces.
            if (trained.Pieces.Any(p => p.Kind is PieceKind.Control or PieceKind.Unknown && text.Contains(p.Text, StringComparison.Ordinal))) continue;
            if (shape == "nfkc" && text.EnumerateRunes().Any(r => r.Value is 0x32FF || (r.Value is >= 0x300 and < 0x370 or >= 0x1100 and < 0x1200))) continue;
            if (shape == "trimmed" && text.Contains('▁', StringComparison.Ordinal)) continue;
            if (model == "unigram" && text.Contains("<0x", StringComparison.Ordinal)) continue;
            compared++;
            int[] expected = reference.Encode(text, addSpecialTokens: false), found = json.Encode(text, addSpecialTokens: false);
            Assert.Equal(expected, found);
        }
        Assert.True(compared > 500);
    }

    [Theory, MemberData(nameof(Cases))]
    public void SentencePiece_reads_the_model_and_gives_the_same_ids(string model, string shape)
    {
        string? program = FindProgram("spm_encode");
        Assert.SkipWhen(program is null, "spm_encode (Debian: sentencepiece) is not installed.");
        string path = Path.Combine(_folder.Path, "tokenizer.model");
        Train(model, shape).SaveSentencePiece(path);
        Tokenizer tokenizer = Tokenizer.Load(path);
        string[] lines = [.. Probes.SelectMany(t => t.Split('\n')).Where(l => !l.Contains('\0', StringComparison.Ordinal))];
        string[] ids = Run(program!, $"--model={path} --output_format=id", lines);
        Assert.Equal(lines.Length, ids.Length);
        for (int i = 0; i < lines.Length; i++) Assert.Equal(ids[i], string.Join(' ', tokenizer.Encode(lines[i], addSpecialTokens: false)));
    }

    [Fact]
    public void The_configuration_names_the_special_pieces()
    {
        Train("unigram", "user-defined").SaveHuggingFace(_folder.Path);
        using JsonDocument config = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(_folder.Path, "tokenizer_config.json")));
        using JsonDocument special = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(_folder.Path, "special_tokens_map.json")));
        foreach (JsonElement root in (JsonElement[])[config.RootElement, special.RootElement])
        {
            Assert.Equal("<s>", root.GetProperty("bos_token").GetString());
            Assert.Equal("</s>", root.GetProperty("eos_token").GetString());
            Assert.Equal("<unk>", root.GetProperty("unk_token").GetString());
            Assert.Equal("<EOD>", root.GetProperty("additional_special_tokens")[0].GetString());
        }
        Tokenizer tokenizer = Tokenizer.Load(_folder.Path);
        Assert.Equal((1, 2, 0), (tokenizer.BeginId, tokenizer.EndId, tokenizer.UnknownId));
        Assert.Equal([3], tokenizer.Encode("<EOD>", addSpecialTokens: false)[^1..]);
    }

    [Fact]
    public void Two_vocabularies_can_be_merged_reestimated_and_written()
    {
        TokenizerTrainerOptions options = Small with { WhitespaceRuns = 4, ControlPieces = ["<EOD>"] };
        TrainingText japanese = new(_folder.WriteLines("ja.txt", TrainingSentences.Make(400, 5).Where(l => !l.Contains("the ", StringComparison.Ordinal))));
        TrainingText english = new(_folder.WriteLines("en.txt", Enumerable.Range(0, 300).Select(i => $"the model reads a book and the cat reads {i % 7} letters")));
        IEnumerable<VocabularyPiece> Learnt(TrainingText text, int size) => UnigramTrainer.Train(text, options with { VocabularySize = size })
            .Pieces.Skip(options.MetaPieces().Count);
        TrainedTokenizer merged = TrainedTokenizer.Of(
            TokenizerModel.Unigram, Learnt(japanese, 540).Concat(Learnt(english, 310)).DistinctBy(p => p.Text), options);
        TrainingText mix = new(Path.Combine(_folder.Path, "ja.txt"), Path.Combine(_folder.Path, "en.txt"));
        IReadOnlyList<VocabularyPiece> estimated = UnigramTrainer.Reestimate(merged.Pieces, mix, options);
        int meta = options.MetaPieces().Count;
        TrainedTokenizer final = TrainedTokenizer.Of(TokenizerModel.Unigram, estimated.Skip(meta).OrderByDescending(p => p.Score), options);
        Assert.Equal(merged.Pieces.Count, final.Options.VocabularySize);
        Assert.Equal(-1, final.Pieces[meta - 1].Score);             // runs of spaces keep theirs

        string path = Path.Combine(_folder.Path, "merged.model");
        final.SaveSentencePiece(path);
        Tokenizer tokenizer = Tokenizer.Load(path);
        Assert.Equal(final.Pieces, tokenizer.Pieces);
        foreach (string text in (string[])["the cat reads 3 letters", "猫は東京で本を読んだ。"])
        {
            int[] ids = tokenizer.Encode(text, addSpecialTokens: false);
            Assert.Equal(text, tokenizer.Decode(ids));
            Assert.True(ids.Length < text.Length);
        }
        Assert.Throws<ArgumentException>(() => TrainedTokenizer.Of(TokenizerModel.Unigram, [.. final.Pieces.Skip(meta), final.Pieces[^1]], options));
        Assert.ThrowsAny<ArgumentException>(() => TrainedTokenizer.Of(TokenizerModel.ByteLevelBpe, [], options));
    }

    [Fact]
    public void Text_comes_back_whole_from_both_files()
    {
        TrainedTokenizer trained = Train("unigram", "runs");
        trained.SaveSentencePiece(Path.Combine(_folder.Path, "tokenizer.model"));
        trained.SaveHuggingFace(_folder.Path);
        foreach (string file in (string[])["tokenizer.model", "tokenizer.json"])
        {
            Tokenizer tokenizer = Tokenizer.Load(Path.Combine(_folder.Path, file));
            foreach (string text in (string[])["半角ｶﾅ", "か\u3099", "𠮷野家", "👩‍👩‍👧", "  二つ　空白 ", "タブ\tと\n改行", "a"])
                Assert.Equal(text, tokenizer.Decode(tokenizer.Encode(text, addSpecialTokens: false)));
            Assert.Contains("▁▁▁▁▁▁▁", tokenizer.Encode("a       。", addSpecialTokens: false).Select(tokenizer.TokenOf));
        }
    }

    [Fact]
    public void Files_that_differ_say_so()
    {
        string file = _folder.WriteLines("text.txt", [.. TrainingSentences.Make(400, 3)]);
        string[] texts = ["  猫は", " a", "名前はまだ無い。", "猫"];
        foreach (bool hasPrefix in (bool[])[true, false])
        {
            TrainedTokenizer trained = BpeTrainer.Train(new(file), Small with { UserDefinedPieces = ["名前"], AddDummyPrefix = hasPrefix });
            trained.Save(_folder.Path);
            Tokenizer model = Tokenizer.Load(_folder["tokenizer.model"]), json = Tokenizer.Load(_folder["tokenizer.json"]);
            Assert.Equal(hasPrefix, trained.FilesDiffer);
            Assert.Equal(hasPrefix, texts.Any(text => !model.Encode(text, addSpecialTokens: false).SequenceEqual(json.Encode(text, addSpecialTokens: false))));
            Assert.Equal(TrainedTokenizer.FileNames.Order(), Directory.GetFiles(_folder.Path).Select(path => Path.GetFileName(path)!).Where(name => name != "text.txt").Order());
        }
        Assert.False(UnigramTrainer.Train(new(file), Small with { UserDefinedPieces = ["名前"] }).FilesDiffer);
    }

    [Fact]
    public void A_file_that_cannot_be_written_leaves_the_old_one()
    {
        TrainedTokenizer trained = Train("unigram", "plain");
        string path = Path.Combine(_folder.Path, "tokenizer.model");
        trained.SaveSentencePiece(path);
        byte[] before = File.ReadAllBytes(path);
        string inTheWay = Path.Combine(_folder.Path, "folder.model");
        Directory.CreateDirectory(Path.Combine(inTheWay, "full"));
        Assert.ThrowsAny<IOException>(() => trained.SaveSentencePiece(inTheWay));
        trained.SaveSentencePiece(path);
        Assert.Equal(before, File.ReadAllBytes(path));
        Assert.Empty(Directory.GetFiles(_folder.Path, "*.tmp"));
    }

    private static string? FindProgram(string name) =>
        (Environment.GetEnvironmentVariable("PATH") ?? "").Split(Path.PathSeparator)
            .Select(folder => Path.Combine(folder, name)).FirstOrDefault(File.Exists);

    private static string[] Run(string program, string arguments, string[] lines)
    {
        using Process process = Process.Start(new ProcessStartInfo(program, arguments)
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            StandardInputEncoding = new System.Text.UTF8Encoding(false),
        })!;
        process.ErrorDataReceived += static (_, _) => { };
        process.BeginErrorReadLine();
        Task<string> output = process.StandardOutput.ReadToEndAsync();
        foreach (string line in lines) process.StandardInput.Write(line + "\n");
        process.StandardInput.Close();
        string text = output.GetAwaiter().GetResult();
        process.WaitForExit();
        Assert.Equal(0, process.ExitCode);
        return text.Split('\n')[..^1];
    }
}
