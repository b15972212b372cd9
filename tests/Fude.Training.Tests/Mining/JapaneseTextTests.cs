namespace Fude.Training.Tests;

public sealed class JapaneseTextTests
{
    [Theory]
    [InlineData("桜が咲く。春だ！本当？！ああ", "桜が咲く。|春だ！|本当？！", "ああ")]
    [InlineData("「咲いた。」と言った。（春。夏。）秋。", "「咲いた。」と言った。|（春。夏。）秋。", null)]
    [InlineData("見出し\n本文。\n\n　字下げ。", "本文。|字下げ。", "見出し")]
    [InlineData("「閉じない。まだ\n次。", "次。", "「閉じない。まだ")]
    [InlineData("閉じる」だけ。次。", "閉じる」だけ。|次。", null)]
    [InlineData("。！", "。！", null)]
    [InlineData("", "", null)]
    public void Sentences_end_outside_of_brackets_and_with_lines(string text, string sentences, string? rest)
    {
        Assert.Equal(sentences, string.Join('|', JapaneseText.Sentences(text, takesRest: false)));
        Assert.Equal(rest, JapaneseText.Sentences(text, takesRest: true).Except(JapaneseText.Sentences(text, takesRest: false)).SingleOrDefault());
    }

    [Theory]
    [InlineData("桜が咲いている。", true)]
    [InlineData("それは桜である。", false)]
    [InlineData("しかし桜が咲く。", false)]
    [InlineData("桜（さくらが咲く。", false)]
    [InlineData("桜）が咲く。", false)]
    [InlineData("）桜が咲く。", false)]
    [InlineData("（桜が咲く）。", false)]
    [InlineData("The tree is 桜 here.", false)]
    [InlineData("`桜` が咲くところです。", false)]
    public void A_sentence_stands_alone_when_it_is_whole_Japanese_and_points_to_nothing(string sentence, bool stands)
    {
        Assert.Equal(stands, JapaneseText.StandsAlone(sentence));
    }

    [Theory]
    [InlineData("春の桜と紅葉を見て、特にコーヒーを飲んだ。", "春|紅葉|コーヒー")]
    [InlineData("美しい花が咲く。", "花")]
    [InlineData("私は三人で2回行く。", "")]
    [InlineData("お茶とご飯、御飯。", "御飯")]
    [InlineData("電車で学校へ、電車。", "電車|学校")]
    [InlineData("東京特許許可局の人々", "人々")]
    [InlineData("𠮷野家の牛丼と叱𠮟。", "牛丼")]
    public void Content_words_are_runs_that_no_ending_follows(string sentence, string words) =>
        Assert.Equal(words, string.Join('|', JapaneseText.Words(sentence)));

    [Theory]
    [InlineData("りんごやバナナ、蜜柑などの果物を買う。", "果物=バナナ、蜜柑")]
    [InlineData("桜や梅、桃などの花木と、犬・猫といった動物。", "花木=桜、梅、桃|動物=犬、猫")]
    [InlineData("庭の桜や梅などの花木", "花木=桜、梅")]
    [InlineData("飲み物や果物などの食品", "")]
    [InlineData("𠮷野や奈良などの名所", "")]
    [InlineData("桜などの花木", "")]
    [InlineData("桜や桜などの花木", "")]
    [InlineData("桜や梅などの種類", "")]
    [InlineData("などの", "")]
    public void Kinds_come_with_their_members(string sentence, string kinds) =>
        Assert.Equal(kinds, string.Join('|', JapaneseText.Kinds(sentence).Select(kind => $"{kind.Kind}={string.Join('、', kind.Members)}")));

    [Theory]
    [InlineData("御前会議（ごぜんかいぎ）とは、会議。", "御前会議")]
    [InlineData("素襖（すおう）は日本の着物の一種。", "素襖")]
    [InlineData("素襖とは着物である。", "素襖")]
    [InlineData("桜（さくら）は、樹木である。", "桜")]
    [InlineData("人とは思えない。", null)]
    [InlineData("素襖は着物である。", null)]
    [InlineData("素襖（すおう", null)]
    [InlineData("素襖", null)]
    [InlineData("すおうとは", null)]
    public void What_is_defined_is_found(string sentence, string? defined) => Assert.Equal(defined, JapaneseText.Defined(sentence));

    [Theory]
    [InlineData("春になると、桜が咲く。", "春になると、")]
    [InlineData("桜が咲く。", "桜が")]
    [InlineData("さくらは咲く。", null)]
    [InlineData("桜", null)]
    public void A_beginning_is_up_to_a_comma_or_a_particle(string sentence, string? beginning) => Assert.Equal(beginning, JapaneseText.Beginning(sentence));
}
