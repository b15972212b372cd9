using Fude.TestData;

namespace Fude.Training.Tests;

public sealed class WordingTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    [Fact]
    public void A_diverged_run_is_told_in_both_languages()
    {
        string last = System.Text.RegularExpressions.Regex.Escape(Path.Combine(_folder["a"], "run", "step-00000006"));
        Assert.Matches($@"^The run stopped: the loss of micro-batch 1 of step 8 is NaN\. Its batch begins at token \d+ of fold \d+ \(seed 5\)\. The last good checkpoint is {last}\. A lower", Of("en"));
        Assert.Matches($"^学習を中断しました。ステップ 8 のマイクロバッチ 1 の損失が NaN になりました（バッチ: フォールド [0-9]+（種 5）の [0-9]+ トークンから）。最後の正常なチェックポイントは {last} です。学習率を", Of("ja"));

        string Of(string language) => UserLanguage.In(language, () =>
        {
            using TemporaryFolder run = new();
            TrainableModel? trained = null;
            return Assert.Throws<DivergenceException>(() => TinyRun.Run(
                run.Path, report => { if (report.Step == 7) trained!.Parameters[1].Values[0] = float.NaN; }, prepare: model => trained = model)).Message
                .Replace(run.Path, _folder["a"], StringComparison.Ordinal);
        });
    }

    [Fact]
    public void Another_run_in_the_folder_is_told_in_both_languages_and_noted_in_one()
    {
        RunTrait[] traits = [new("learning rate", "0.1"), new("shard 1", "3 documents"), new("lora", "none")];
        UserLanguage.In("ja", () => Check(traits, hasBegun: false));
        Assert.Contains("\"learning rate\": \"0.1\"", File.ReadAllText(_folder["identity.json"]), StringComparison.Ordinal);
        string file = _folder["identity.json"];
        UserLanguage.Fails(() => Check([new("learning rate", "0.2"), .. traits[1..]]), $"{file}: the run in this folder began with --learning-rate 0.1, and now there is --learning-rate 0.2. Give what",
            $"{file}: このフォルダーの実行は --learning-rate 0.1 で始まりましたが、今は --learning-rate 0.2 です。始めたときと");
        UserLanguage.Fails(() => Check([.. traits, new("data 2", "x")]), "the run in this folder began with no file number 2 of --data, and now there is --data (file number 2). ", "2 番目の --data なしで始まりましたが、今は");
        UserLanguage.Fails(() => Check(traits[..2]), "began with lora 'none', and now there is no lora.", "このフォルダーの実行は LoRA の設定 'none' で始まりましたが、今は LoRA の設定 なしです。");
        _folder.Write("identity.json", "[");
        UserLanguage.Fails(() => Check(traits), $"{file}: is not the identity of a run: ", $"{file}: 実行の識別情報として読めません: ");
    }

    [Fact]
    public void A_log_that_cannot_be_read_is_told_by_its_line_in_both_languages()
    {
        string file = _folder["metrics.jsonl"];
        UserLanguage.Fails(() => RunReport.Write(_folder.Path), $"{file}: there is no such file; the folder is of no run.", $"{file}: そのようなファイルはありません。学習の実行フォルダーではありません。");
        _folder.Write("metrics.jsonl", "{}\n");
        UserLanguage.Fails(() => RunReport.Write(_folder.Path), $"{file}:1: is no line of a run's metrics, such as {{\"step\":1,", $"{file}:1: 学習の記録の行（{{\"step\":1,\"loss\":9.5,…}} など）として読めません: ");
        const string Line = "{\"step\":2,\"loss\":1,\"gradient_norm\":1,\"learning_rate\":1,\"tokens\":1,\"seconds\":1,\"tokens_per_second\":1,\"time\":1}\n";
        _folder.Write("metrics.jsonl", Line + Line);
        UserLanguage.Fails(() => RunReport.Write(_folder.Path), $"{file}:2: is of step 2, after step 2.", $"{file}:2: ステップ 2 の後にステップ 2 があります。");
    }

    [Fact]
    public void Settings_out_of_their_range_are_told_in_both_languages()
    {
        TuningSettings good = new() { Model = "m", Data = [new DataSource("a")], Output = "o", LearningRate = 1e-3 };
        UserLanguage.Fails(() => Checked(good with { LearningRate = 0 }), "The learning rate is 0; it has to be above 0 and at most 1000000.", "学習率が 0 です（必要: 0 より大きく 1000000 以下）。");
        UserLanguage.Fails(() => Checked(good with { Dropout = 1 }), "The dropout is 1; it has to be from 0 to below 1.", "ドロップアウト率が 1 です（必要: 0 以上 1 未満）。");
        UserLanguage.Fails(() => Checked(good with { Preference = new PreferenceLoss { Beta = 0 } }), "The preference loss is not of a beta above 0 and a label smoothing from 0 to below 0.5.",
            "選好の損失が正しくありません（必要: beta は 0 より大きく、ラベル平滑化は 0 以上 0.5 未満）。");
        UserLanguage.Fails(() => new Mixture([(3, 0)], 1), "A source of 3 examples with weight 0: weights are above 0 and at most 1000.", "3 例のデータの重みが 0 です。重みは 0 より大きく 1000 以下にしてください。");

        static object? Checked(TuningSettings settings)
        {
            settings.Check();
            return null;
        }
    }

    [Fact]
    public void Broken_examples_are_told_by_their_place_in_both_languages()
    {
        string file = _folder.Write("a.jsonl", "{}\n{\"instruction\": \"a\", \"output\": \"\"}\n{,}\n");
        UserLanguage.Fails(() => new DialogueReader().Read(file, new DataTally()).Count(), $"{file}:1: its keys () are of no kind of record", $"{file}:1: キー（）から種類が分かりません。");
        UserLanguage.Fails(() => new DialogueReader().Read(file, new DataTally(1)).Count(), $"{file}:2: \"output\" is empty. This is bad record 2; 1 may be left out at most (--skip-bad).",
            $"{file}:2: \"output\" が空です。不良レコードはこれで 2 件目です。除いてよいのは 1 件までです（--skip-bad）。");
        UserLanguage.Fails(() => new DialogueReader().Read(file, new DataTally(2)).Count(), $"{file}:3: broken JSON (column 2: ", $"{file}:3: JSON が壊れています（2 文字目: ");
        _folder.Write("a.jsonl", "{\"instruction\": 3, \"output\": \"a\"}\n");
        UserLanguage.Fails(() => new DialogueReader().Read(file, new DataTally()).Count(), $"{file}:1: \"instruction\" is no text but a number. ", $"{file}:1: \"instruction\" が文字列ではなく数です。");
        _folder.Write("a.jsonl", "[\n[]]\n");
        UserLanguage.Fails(() => new DialogueReader().Read(file, new DataTally()).Count(), $"{file}:1: a JSON object is expected, not a list. ", $"{file}:1: JSON のオブジェクトではなくリストです。");
        _folder.Write("a.jsonl", "[\n{,}]\n");
        UserLanguage.Fails(() => new DialogueReader().Read(file, new DataTally()).Count(), "broken JSON (line 2, column 2: ", "JSON が壊れています（2 行目の 2 文字目: ");
        _folder.Write("a.jsonl", [.. "{\"instruction\": \""u8, 0x87, 0x8A, .. "\"}\n"u8]);
        UserLanguage.Fails(() => new DialogueReader().Read(file, new DataTally()).Count(),
            $"{file}:1: the text is no UTF-8. Convert the text first, e.g. `iconv -f CP932 -t UTF-8`. Where a few records alone are bad, they can be left out (--skip-bad N).",
            $"{file}:1: UTF-8 ではありません。`iconv -f CP932 -t UTF-8` などで変換してください。壊れたレコードがわずかなら、--skip-bad N で除くこともできます。");
        _folder.Write("a.jsonl", [.. "[\""u8, 0x87, 0x8A, .. "\"]"u8]);
        UserLanguage.Fails(() => new DialogueReader().Read(file, new DataTally()).Count(),
            $"{file}: the text is no UTF-8. Convert the text first, e.g. `iconv -f CP932 -t UTF-8`.", $"{file}: UTF-8 ではありません。`iconv -f CP932 -t UTF-8` などで変換してください。");
        UserLanguage.Fails(() => new DialogueReader().Read(_folder["b"], new DataTally()).Count(), $"{_folder["b"]}: there is no such file of examples.", $"{_folder["b"]}: そのような学習例のファイルはありません。");
    }

    [Theory]
    [InlineData("東京は日本の首都です。\n")]
    [InlineData("\n質問,答え\n犬は？,猫です。\n")]
    [InlineData("\"質問\",\"答え\"\n")]
    public void Plain_text_and_tables_are_no_broken_JSON(string text)
    {
        string file = _folder.Write("a.csv", text);
        int line = text[0] == '\n' ? 2 : 1;
        UserLanguage.Fails(() => new DialogueReader().Read(file, new DataTally()).Count(),
            $"{file}:{line}: is no JSONL, which has one JSON object a line. Instructions are lines such as {{\"instruction\": \"…\", \"output\": \"…\"}}",
            $"{file}:{line}: JSONL（1 行に 1 つの JSON オブジェクト）ではありません。指示と応答は {{\"instruction\": \"…\", \"output\": \"…\"}}");
        UserLanguage.Fails(() => PreferenceReader.Read(file, new DataTally()).Count(), "Preferences are lines such as {\"prompt\"", "選好は {\"prompt\"");
        UserLanguage.Fails(() => MinedInstructions.Read(file, new DataTally()).Count(), "are written by `fude corpus instructions`.", "`fude corpus instructions` で作れます。");
        UserLanguage.Fails(() => new DialogueReader().Read(file, new DataTally()).Count(), "Plain text is learnt by `fude corpus tokenize` and then `fude train`.",
            "プレーンテキストは `fude corpus tokenize` と `fude train` で学習できます。");
        // Whoever lets bad records be left out has this one left out too.
        Assert.Empty(new DialogueReader().Read(file, new DataTally(9)));
    }

    public void Dispose() => _folder.Dispose();

    private object? Check(IReadOnlyList<RunTrait> traits, bool hasBegun = true)
    {
        RunIdentity.Check(_folder.Path, traits, hasBegun);
        return null;
    }
}
