using System.Runtime.CompilerServices;
using System.Text.Json;
using Fude.TestData;
using Fude.Tokenizers.Files;
using Fude.Tokenizers.Training;

namespace Fude.Tokenizers.Tests;

public sealed class WordingTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    [ModuleInitializer]
    internal static void BeEnglish() => UserLanguage.BeEnglish();

    [Theory]
    [InlineData("en", "is English")]
    [InlineData("en-US", "is English")]
    [InlineData("", "is English")]
    [InlineData("jam", "is English")]
    [InlineData("ja", "日本語です")]
    [InlineData("ja-JP", "日本語です")]
    public void The_culture_of_the_user_interface_decides(string culture, string expected) =>
        Assert.Equal(expected, UserLanguage.In(culture, () => Wording.Say("is English", "日本語です")));

    [Theory]
    [InlineData("{", "tokenizer.json is no JSON: line 1, column 2: ", "tokenizer.json が JSON になっていません: 1 行目の 2 文字目: ")]
    [InlineData("{\n \"猫\": ,}", "tokenizer.json is no JSON: line 2, column 7: ',' is an invalid start of a value.", "tokenizer.json が JSON になっていません: 2 行目の 7 文字目: 値があるべき所に ',' があります。")]
    [InlineData("\r\n ", "tokenizer.json is no JSON: it is empty.", "tokenizer.json が JSON になっていません: 空です。")]
    [InlineData("", "tokenizer.json is empty. Download or copy it again.", "tokenizer.json が空です。ダウンロードまたはコピーをやり直してください。")]
    [InlineData("[]", "tokenizer.json: the file should be an object, but is a list.", "tokenizer.json: ファイル全体が正しくありません（必要: オブジェクト、実際: リスト）。")]
    [InlineData("{}", "tokenizer.json: the file has no \"model\".", "tokenizer.json: ファイル全体に \"model\" がありません。")]
    [InlineData("""{"model": {"type": "WordPiece"}}""", "tokenizer.json: model is of type WordPiece; fude supports BPE and Unigram.",
        "tokenizer.json: model の型 WordPiece には対応していません。使えるのは BPE と Unigram です。")]
    [InlineData("""{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": ["a", 3]}}""", "tokenizer.json: model.merges[0] should be two pieces with a space between them, but is a string.",
        "tokenizer.json: model.merges[0] が正しくありません（必要: 空白で区切った 2 つの語、実際: 文字列）。")]
    [InlineData("""{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": ["a b"]}}""", "tokenizer.json: merge 0 (\"a\" + \"b\") needs \"b\", which is not in the vocabulary.",
        "tokenizer.json: マージ 0（\"a\" + \"b\"）に必要な \"b\" が語彙にありません。")]
    [InlineData("""{"model": {"type": "BPE", "vocab": {"a": 0, "b": 0}, "merges": []}}""", "tokenizer.json: id 0 is given to both \"a\" and \"b\"; every token needs its own.",
        "tokenizer.json: ID 0 が \"a\" と \"b\" の両方に割り当てられています。トークンごとに別の ID が必要です。")]
    [InlineData("""{"model": {"type": "Unigram", "unk_id": 7, "vocab": [["a", -1]]}}""", "tokenizer.json: model.unk_id is 7, but the ids are 0 to 0.",
        "tokenizer.json: model.unk_id が 7 ですが、ID は 0 から 0 までです。")]
    [InlineData("""{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}, "pre_tokenizer": {"type": "Split", "pattern": {"Regex": "[a[b]]"}, "behavior": "Isolated"}}""",
        "tokenizer.json: the regular expression [a[b]] has a class inside a class, which fude cannot translate; ",
        "tokenizer.json: 正規表現 [a[b]] の一部（文字クラスの入れ子）に対応していません。")]
    public void A_broken_tokenizer_json_is_told_in_both_languages(string json, string english, string japanese)
    {
        // By its path: of which of several folders it is.
        string file = _folder.Write("tokenizer.json", json), folder = file[..^"tokenizer.json".Length];
        UserLanguage.Fails(() => Tokenizer.Load(file), folder + english, folder + japanese);
    }

    [Fact]
    public void Broken_models_and_folders_are_told_in_both_languages()
    {
        string none = _folder["none"];
        UserLanguage.Fails(() => Tokenizer.Load(none), $"{none}: there is no such file or folder.", $"{none}: そのようなファイルやフォルダーはありません。");
        UserLanguage.Fails(() => Tokenizer.Load(_folder.Path), $"{_folder.Path} has no tokenizer: ", $"{_folder.Path} にトークナイザーがありません。");
        string model = _folder.Write("a.model", [0x0A, 0x7F]);
        UserLanguage.Fails(() => Tokenizer.Load(model), $"{model} says that field 1 has 127 bytes, but only 0 are left: it is cut off, or no SentencePiece model (a protobuf ModelProto).",
            "a.model: フィールド 1 は 127 バイトとされていますが、残りは 0 バイトです。途中で切れているか、SentencePiece のモデル（protobuf の ModelProto）ではありません。");
        _folder.Write("a.model", [0x12, 0x00]);
        UserLanguage.Fails(() => Tokenizer.Load(model), "a.model is not a usable SentencePiece model: it has no pieces.", "a.model は SentencePiece のモデルとして使えません: 語が 1 つもありません。");
        UserLanguage.Fails(() => Tokenizer.Load(_folder.Write("a.txt", "a")), "a.txt: fude reads tokenizer.json, ", "a.txt: 対応していません。読めるのは tokenizer.json、");
        _folder.Write("vocab.json", """{"a": 0}""");
        _folder.Write("merges.txt", "#version: 0.2\na b c\n");
        UserLanguage.Fails(() => Tokenizer.Load(_folder["merges.txt"]), "merges.txt, line 2: \"a b c\" should be two pieces with a space between them.",
            "merges.txt:2: \"a b c\" は、空白で区切った 2 つの語でなければなりません。");
    }

    [Fact]
    public void A_tokenizer_in_a_GGUF_file_that_contradicts_itself_is_told_in_both_languages()
    {
        Dictionary<string, object> metadata = new() { [GgufTokenizerFile.Model] = "llama", [GgufTokenizerFile.Tokens] = (string[])["a", "b"], [GgufTokenizerFile.TokenScores] = (float[])[1] };
        UserLanguage.Fails(() => GgufTokenizerFile.Read(metadata, "a.gguf"), "a.gguf: tokenizer.ggml.scores has 1 numbers for 2 tokens.", "a.gguf: tokenizer.ggml.scores の数が 1 個で、トークンの 2 個と合いません。");
        metadata[GgufTokenizerFile.TokenScores] = (uint[])[1, 2];
        UserLanguage.Fails(() => GgufTokenizerFile.Read(metadata, "a.gguf"), "a.gguf: tokenizer.ggml.scores is an array of whole numbers, but an array of float32 numbers is expected.",
            "a.gguf: tokenizer.ggml.scores が正しくありません（必要: float32 の数の配列、実際: 整数の配列）。");
        metadata[GgufTokenizerFile.Model] = 1f;
        UserLanguage.Fails(() => GgufTokenizerFile.Read(metadata, "a.gguf"), "a.gguf: tokenizer.ggml.model is a float32 number, but a text is expected.",
            "a.gguf: tokenizer.ggml.model が正しくありません（必要: 文字列、実際: float32 の数）。");
        metadata[GgufTokenizerFile.Model] = "bert";
        UserLanguage.Fails(() => GgufTokenizerFile.Read(metadata, "a.gguf"), "a.gguf: has a tokenizer of the kind 'bert'; ", "a.gguf: 種類 'bert' のトークナイザーには対応していません。");
    }

    [Fact]
    public void Broken_training_text_is_told_by_its_place_in_both_languages()
    {
        string file = _folder.Write("a.jsonl", "{\"text\": \"猫\"}\n{\"text\": 1}\n");
        UserLanguage.Fails(() => new TrainingText(file).Documents().Count(), $"{file}:2: the field 'text' is no string, but a number. Correct the line, or allow a number of broken lines to be skipped (--skip-bad N).",
            $"{file}:2: フィールド 'text' が文字列ではなく数です。行を直すか、読み飛ばしてよい行数を --skip-bad N で指定してください。");
        _folder.Write("a.jsonl", "{}\n{\"text\" 1}\n");
        UserLanguage.Fails(() => new TrainingText(file) { SkipBadLines = 1 }.Documents().Count(), $"{file}:2: broken JSON (column 9: ", $"{file}:2: JSON が壊れています（9 文字目: ");
        UserLanguage.Fails(() => new TrainingText(file) { SkipBadLines = 1 }.Documents().Count(), "). This is broken line 2; 1 were to be skipped at most.", "）。壊れた行はこれで 2 行目です。読み飛ばしてよいのは 1 行までです。");
    }

    [Theory]
    [InlineData("""{"text" 1}""", "名前の後に '1' があります（: が必要）")]
    [InlineData("""{"text": "犬" 1}""", "値の後に '1' があります（, か閉じ括弧が必要）")]
    [InlineData("""{"text": x}""", "値があるべき所に 'x' があります")]
    [InlineData("""{text: 1}""", "名前（\" で始まる）があるべき所に 't' があります")]
    [InlineData("""{"text": "犬",}""", "最後の要素の後に余分な , があります")]
    [InlineData("""{"text": "犬"} x""", "余分な 'x' があります")]
    [InlineData("""{"text": tru}""", "true、false、null のどれでもありません")]
    [InlineData("""{"text": 01}""", "数の先頭に余分な 0 があります")]
    [InlineData("""{"text": 1x}""", "数の終わりに 'x' があります")]
    [InlineData("""{"text": "\x"}""", "文字列の中の \\ の後に 'x' があります")]
    [InlineData("""{"text": 東}""", "値があるべき所に '東' があります")]
    [InlineData("""{"text": "犬" 𠮷}""", "値の後に '𠮷' があります")]
    [InlineData("{\"text\": \"\t\"}", "文字列の中に、エスケープされていない '")]
    [InlineData("""{"text": "犬""", "文字列が閉じていません")]
    public void What_is_wrong_with_JSON_is_told_in_Japanese(string line, string japanese) =>
        UserLanguage.Fails(() => new TrainingText(_folder.Write("a.jsonl", line + "\n")).Documents().Count(), "broken JSON (column ", japanese);

    [Fact]
    public void JSON_that_ends_too_early_is_told_by_its_last_line()
    {
        JsonException cut = Assert.ThrowsAny<JsonException>(() => JsonDocument.Parse("{\n \"a\": 1\n\n"));
        Assert.StartsWith("line 2, column 8: ", JsonMistake.InFile(cut, "{\n \"a\": 1\n\n"u8), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("""{"text": {}}""", "the field 'text' is no string, but an object", "フィールド 'text' が文字列ではなくオブジェクトです")]
    [InlineData("""{"text": null}""", "the field 'text' is no string, but null", "フィールド 'text' が文字列ではなく null です")]
    [InlineData("""{"text": false}""", "the field 'text' is no string, but true or false", "フィールド 'text' が文字列ではなく真偽値です")]
    [InlineData("""["猫"]""", "no JSON object, but a list", "JSON オブジェクトではなくリストです")]
    [InlineData("\"猫\"", "no JSON object, but a string", "JSON オブジェクトではなく文字列です")]
    public void A_line_of_JSON_that_is_something_else_is_told_by_what_it_is(string line, string english, string japanese)
    {
        string file = _folder.Write("a.jsonl", line + "\n");
        UserLanguage.Fails(() => new TrainingText(file).Documents().Count(), $"{file}:1: {english}. ", $"{file}:1: {japanese}。");
    }

    [Fact]
    public void Options_of_a_trainer_are_refused_in_both_languages()
    {
        TrainingText text = new(_folder.Write("a.txt", "吾輩は猫である。名前はまだ無い。\n"));
        UserLanguage.Fails(() => UnigramTrainer.Train(text, new() { MaxPieceLength = 9999 }), "MaxPieceLength is 9999; expected 1 to 512.", "MaxPieceLength が 9999 です（必要: 1 から 512 まで）。");
        UserLanguage.Fails(() => UnigramTrainer.Train(text, new() { VocabularySize = 265 }), "Ask for a larger vocabulary, or a lower CharacterCoverage than 0.9995.",
            "語彙数を増やすか、CharacterCoverage を 0.9995 より下げてください。");
        foreach ((string piece, string normal, string give) in ((string, string, string)[])[("①", "1", "1"), ("㈱", "(株)", "(株)"), ("名\u3000前", "名 前", "名▁前"), ("ｶﾞ", "ガ", "ガ")])
        {
            TokenizerTrainerOptions nfkc = new() { VocabularySize = 275, UserDefinedPieces = [piece], Normalization = TrainerNormalization.Nfkc };
            foreach (Func<TrainingText, TokenizerTrainerOptions, object> train in (Func<TrainingText, TokenizerTrainerOptions, object>[])[
                (read, options) => UnigramTrainer.Train(read, options), (read, options) => BpeTrainer.Train(read, options),
                (read, options) => VocabularyMerge.Merge([[new(0, "猫", -1, PieceKind.Normal)]], read, options)])
                UserLanguage.Fails(() => train(text, nfkc), $"The user-defined piece '{piece}' is '{normal}' after NFKC: tokenizer.model would find it in a text, and tokenizer.json would not. Give '{give}' in its place, or leave NFKC out (--nfkc).",
                    $"ユーザー定義の語 '{piece}' は NFKC で '{normal}' になるため、tokenizer.model では見つかり、tokenizer.json では見つかりません。代わりに '{give}' を指定するか、NFKC（--nfkc）を外してください。");
            Assert.Equal(275, UnigramTrainer.Train(text, nfkc with { UserDefinedPieces = [give] }).Pieces.Count);
            Assert.Equal(275, UnigramTrainer.Train(text, nfkc with { Normalization = TrainerNormalization.Identity, UserDefinedPieces = [piece.Replace('\u3000', '▁')] }).Pieces.Count);
        }
        UserLanguage.Fails(() => BpeTrainer.Train(text, new() { VocabularySize = 9000 }), "VocabularySize is 9000, but this text yields ", "VocabularySize が 9000 ですが、このテキストから作れるのは ");
    }

    public void Dispose() => _folder.Dispose();
}
