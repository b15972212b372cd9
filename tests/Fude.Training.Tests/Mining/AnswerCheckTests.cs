using System.Text;
using System.Text.Json;

namespace Fude.Training.Tests;

/// <summary>What an answer is held to is read, written and judged to the letter.</summary>
public sealed class AnswerCheckTests
{
    [Theory]
    [InlineData("""{"exactly": "猫"}""", "猫", true)]
    [InlineData("""{"exactly": "猫"}""", " 猫\n", true)]
    [InlineData("""{"exactly": "猫"}""", "猫。", false)]
    [InlineData("""{"exactly": " 猫 "}""", "猫", true)]
    [InlineData("""{"begins": "はい"}""", "はい、あります。", true)]
    [InlineData("""{"begins": "はい"}""", "いいえ。はい", false)]
    [InlineData("""{"contains": ["桜", "春"]}""", "春に桜が咲く。", true)]
    [InlineData("""{"contains": ["桜", "春"]}""", "桜が咲く。", false)]
    [InlineData("""{"sentences": 1}""", "桜が咲く。", true)]
    [InlineData("""{"sentences": 1}""", "桜が咲く", true)]
    [InlineData("""{"sentences": 1}""", "「咲いた。」と言った。", true)]
    [InlineData("""{"sentences": 1}""", "咲いた。散った。", false)]
    [InlineData("""{"sentences": 2}""", "咲いた！？\n散った。", true)]
    [InlineData("""{"items": 2}""", "- 桜\n- 梅", true)]
    [InlineData("""{"items": 2}""", "1. 桜\n\n2. 梅", true)]
    [InlineData("""{"items": 2}""", "・桜\n・梅\n・桃", false)]
    [InlineData("""{"items": 2}""", "- 桜\n- 桜", false)]
    [InlineData("""{"items": 2}""", "二つです。\n- 桜\n- 梅", false)]
    [InlineData("""{"items": 2}""", "桜\n梅", false)]
    [InlineData("""{"items": 2}""", "- 桜\n-", false)]
    [InlineData("""{"items": 2, "from": "桜と梅と桃"}""", "- 桃\n- 桜", true)]
    [InlineData("""{"items": 2, "from": "桜と梅と桃"}""", "- 桃\n- 菊", false)]
    [InlineData("""{"from": "桜と梅"}""", "- 桜\n- 梅", true)]
    [InlineData("""{"contains": []}""", "何か", true)]
    [InlineData("""{"contains": []}""", "  \n", false)]
    public void An_answer_is_judged_by_what_was_asked_for(string check, string answer, bool isMet) => Assert.Equal(isMet, Of(check).IsMetBy(answer));

    [Theory]
    [InlineData("""{"exactly":"猫","begins":"猫","contains":["猫","犬"],"sentences":1,"items":2,"from":"x"}""", false)]
    [InlineData("{}", true)]
    public void It_is_written_as_it_is_read(string json, bool isEmpty)
    {
        using MemoryStream written = new();
        using (Utf8JsonWriter writer = new(written, new JsonWriterOptions { Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping })) Of(json).WriteTo(writer);
        Assert.Equal(json, Encoding.UTF8.GetString(written.ToArray()));
        Assert.Equal(isEmpty, Of(json).IsEmpty);
    }

    [Theory]
    [InlineData("[]", "but this is a list")]
    [InlineData("""{"contain": ["猫"]}""", "has no \"contain\" but exactly")]
    [InlineData("""{"contains": "猫"}""", "\"contains\" of a check is a list of texts")]
    [InlineData("""{"contains": [1]}""", "\"contains\" of a check is a list of texts")]
    [InlineData("""{"items": 0}""", "\"items\" of a check is a whole number above 0")]
    [InlineData("""{"items": 1e99}""", "\"items\" of a check is a whole number above 0")]
    [InlineData("""{"sentences": "1"}""", "\"sentences\" of a check is a whole number above 0")]
    [InlineData("""{"exactly": null}""", "\"exactly\" of a check is a text")]
    [InlineData("""{"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa": 1}""", "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa…\"")]
    public void What_is_no_check_is_an_error_that_names_it(string json, string named) =>
        Assert.Contains(named, Assert.Throws<InvalidDataException>(() => Of(json)).Message, StringComparison.Ordinal);

    private static AnswerCheck Of(string json)
    {
        using JsonDocument document = JsonDocument.Parse(json);
        return AnswerCheck.Of(document.RootElement);
    }
}
