using System.Globalization;
using static Fude.Tokenizers.Wording;

namespace Fude.Training;

/// <summary>Says what a <see cref="RunTrait"/> was and is as the user gave it: --beta2 0.95, not the text by which identity.json knows it.</summary>
internal static class TraitWords
{
    private const int LongestText = 60;

    // Traits that are one option each, or whose members are.
    private static readonly Dictionary<string, string> Options = new(StringComparer.Ordinal)
    {
        ["base format"] = "--weights",
        ["prompt format"] = "--format",
        ["system"] = "--system",
        ["context"] = "--context",
        ["too long"] = "--too-long",
        ["last answer only"] = "--last-answer-only",
        ["both speakers"] = "--second-speaker-only",
        ["all replies"] = "--all-replies",
        ["held-out share"] = "--held-out-share",
        ["epochs"] = "--epochs",
        ["batch"] = "--batch",
        ["tokens per micro-batch"] = "--tokens-per-batch",
        ["learning rate"] = "--learning-rate",
        ["schedule"] = "--schedule",
        ["warm-up"] = "--warmup",
        ["final rate"] = "--final-rate",
        ["weight decay"] = "--weight-decay",
        ["clip"] = "--clip",
        ["dropout"] = "--dropout",
        ["seed"] = "--seed",
        ["precision"] = "--precision",
        ["AdamW.Beta1"] = "--beta1",
        ["AdamW.Beta2"] = "--beta2",
        ["AdamW.Epsilon"] = "--epsilon",
        ["loss.LabelSmoothing"] = "--label-smoothing",
        ["loss.ZLoss"] = "--z-loss",
        ["preference.Form"] = "--loss",
        ["preference.Beta"] = "--beta",
        ["preference.LabelSmoothing"] = "--label-smoothing",
        ["preference.PerToken"] = "--per-token",
        ["lora.rank"] = "--lora-rank",
        ["lora.alpha"] = "--lora-alpha",
        ["lora.dropout"] = "--lora-dropout",
        ["lora.targets"] = "--lora-targets",
        ["lora.rank-stabilised"] = "--lora-rslora",
        ["replay.share"] = "--replay-share",
    };

    /// <summary>What was and what is, each to follow "with": of what has several members only those that differ.</summary>
    /// <param name="name">The trait's.</param>
    /// <param name="before">What it was; null for nothing.</param>
    /// <param name="now">What it is; null for nothing.</param>
    /// <param name="place">The file that it is of now; or null.</param>
    public static (string Before, string Now) Of(string name, string? before, string? now, string? place)
    {
        (string kind, string number) = Numbered(name);
        return kind switch
        {
            "AdamW" or "loss" or "preference" or "lora" or "replay" when Members(kind, before) is { } old && Members(kind, now) is { } given
                && Differences(kind, old, given) is { Count: > 0 } different => (Joined(different.Select(one => one.Before)), Joined(different.Select(one => one.Now))),
            "data" when OfData(before) is { } old && OfData(now) is { } given => OfFile(number, old, given, place),
            _ when Options.TryGetValue(name, out string? option) => (Given(option, name, before), Given(option, name, now)),
            _ => (Plain(name, before, null), Plain(name, now, place)),
        };
    }

    private static string Joined(IEnumerable<string> parts) => string.Join(Say(", ", "、"), parts);

    // "data 2": the second of its kind. "shard 1 tokens" is a kind of its own.
    private static (string Kind, string Number) Numbered(string name)
    {
        int space = name.LastIndexOf(' ');
        return space > 0 && name.AsSpan(space + 1).IndexOfAnyExceptInRange('0', '9') < 0 ? (name[..space], name[(space + 1)..]) : (name, "");
    }

    private static List<(string Before, string Now)> Differences(string kind, Dictionary<string, string> before, Dictionary<string, string> now)
    {
        IEnumerable<string> members = before.Keys.Union(now.Keys);
        // Whether there is an adapter at all says enough.
        if (kind == "lora" && before.Count * now.Count == 0) members = ["rank"];
        List<(string, string)> different = [];
        foreach (string member in members)
        {
            (string? old, string? given) = (before.GetValueOrDefault(member), now.GetValueOrDefault(member));
            if (old == given) continue;
            // The text that is replayed has no option of its own for its members.
            if (!Options.TryGetValue($"{kind}.{member}", out string? option)) return [];
            different.Add((Given(option, member, old), Given(option, member, given)));
        }
        return different;
    }

    // Null where the text is none of its kind.
    private static Dictionary<string, string>? Members(string kind, string? value)
    {
        Dictionary<string, string> members = new(StringComparer.Ordinal);
        if (value is null or "" or "none") return kind == "replay" ? null : members;
        if (kind is "lora" or "replay")
        {
            foreach (string part in value.Split(", "))
                if (kind == "replay" && part.EndsWith(" tokens", StringComparison.Ordinal)) members["tokens"] = part;
                else members[part.Split(' ')[0]] = part.Contains(' ', StringComparison.Ordinal) ? part[(part.IndexOf(' ', StringComparison.Ordinal) + 1)..] : "True";
            if (members.GetValueOrDefault("targets") == "all") members.Remove("targets");
            return members;
        }
        (int from, int to) = (value.IndexOf('{', StringComparison.Ordinal) + 1, value.LastIndexOf('}'));
        if (from < 1 || to < from) return null;
        foreach (string part in value[from..to].Split(','))
            if (part.Split(" = ") is [string member, string said]) members[member.Trim()] = said.Trim();
        return members;
    }

    // An option as it would be typed, or that it was not.
    private static string Given(string option, string name, string? value)
    {
        // Whoever reads both speakers has given nothing.
        if (name == "both speakers") value = value == "False" ? "True" : "False";
        return value switch
        {
            null or "" or "False" => Say($"no {option}", $"{option} なし"),
            "True" => option,
            _ when name is "schedule" or "too long" or "Form" or "base format" => $"{option} {(value == nameof(ScheduleForm.WarmupStableDecay) ? "wsd" : value.ToLowerInvariant())}",
            _ when name is "targets" => $"{option} {value.Replace(' ', ',')}",
            _ when name is "system" => $"{option} \"{(value.Length > LongestText ? $"{value[..LongestText]}…" : value)}\"",
            _ => $"{option} {value}",
        };
    }

    private static (string Fingerprint, string Weight, string Examples)? OfData(string? value) =>
        value?.Split(", ") is [string fingerprint, string weight, string examples] && weight.StartsWith("weight ", StringComparison.Ordinal)
            && examples.EndsWith(" examples", StringComparison.Ordinal) ? (fingerprint, weight["weight ".Length..], examples[..^" examples".Length]) : null;

    private static (string Before, string Now) OfFile(
        string number, (string Fingerprint, string Weight, string Examples) before, (string Fingerprint, string Weight, string Examples) now, string? place)
    {
        string file = place ?? Say($"file {number}", $"ファイル {number}");
        if (before.Fingerprint != now.Fingerprint)
            return (Say($"other data in place of {file} (--data, number {number}: {Examples(before.Examples)}, fingerprint {before.Fingerprint})",
                        $"{file} ではなく別のデータ（--data の {number} 番目。{before.Examples} 例、ハッシュ値 {before.Fingerprint}）"),
                Say($"{file} ({Examples(now.Examples)}, fingerprint {now.Fingerprint})", $"{file}（{now.Examples} 例、ハッシュ値 {now.Fingerprint}）"));
        return before.Weight != now.Weight ? ($"--data {file}:{before.Weight}", $"--data {file}:{now.Weight}")
            : (Say($"{Examples(before.Examples)} of {file}", $"{file} の {before.Examples} 例"), Say($"{Examples(now.Examples)} of it", $"{now.Examples} 例"));
    }

    private static string Examples(string count) => count == "1" ? "1 example" : $"{count} examples";

    // What is known by its fingerprint or its size alone.
    private static string Plain(string name, string? value, string? place) => Numbered(name) is ("data", { Length: > 0 } number)
        ? value is null ? Say($"no file number {number} of --data", $"{number} 番目の --data なし") : Say($"--data {place ?? $"(file number {number})"}", place is null ? $"{number} 番目の --data あり" : $"--data {place}")
        : value is null
        ? Say($"no {name}", $"{Japanese(name)} なし")
        : Say($"{name} '{value}'", $"{Japanese(name)} '{value}'".TrimStart()) + (place is null ? "" : IsFingerprint(name)
            ? Say($" ({place}; these are fingerprints of what the files hold)", $"（{place}。いずれもファイルの内容のハッシュ値）") : Say($" ({place})", $"（{place}）"));

    private static bool IsFingerprint(string name) =>
        name is "model" or "tokenizer" or "chat template" or "config" or "base" or "base weights" || name.EndsWith(" tokens", StringComparison.Ordinal);

    // In the file they keep their English names, whoever runs the program.
    private static string Japanese(string name)
    {
        (string kind, string number) = Numbered(name);
        if (number.Length > 0) return $"{Japanese(kind)} {number}";
        if (name.EndsWith(" tokens", StringComparison.Ordinal)) return $"{Japanese(name[..^" tokens".Length])} のトークン";
        return name switch
        {
            "model" => "モデル",
            "base format" => "元の重みの数値形式",
            "prompt format" => "プロンプト書式",
            "system" => "system の文",
            "context" => "文脈長",
            "too long" => "長すぎる例の扱い",
            "last answer only" => "最後の応答だけの学習",
            "both speakers" => "両方の話者の学習",
            "all replies" => "すべての返答の学習",
            "held-out share" => "評価用の割合",
            "lora" => "LoRA の設定",
            "preference" => "選好の損失",
            "epochs" => "周回数",
            "batch" => "バッチ",
            "tokens per micro-batch" => "マイクロバッチのトークン数",
            "learning rate" => "学習率",
            "schedule" => "学習率の変化",
            "warm-up" => "ウォームアップ",
            "final rate" => "最後の学習率",
            "weight decay" => "重み減衰",
            "AdamW" => "AdamW の設定",
            "clip" => "勾配ノルムの上限",
            "loss" => "損失",
            "dropout" => "ドロップアウト",
            "seed" => "乱数の種",
            "data" => "データ",
            "replay" => "混ぜるテキスト",
            "replay length" => "混ぜるテキストの長さ",
            "config" => "モデルの設定",
            "base" => "継続元のモデルの設定",
            "shard" => "シャード",
            "tokenizer" => "トークナイザー",
            "chat template" => "チャットテンプレート",
            "base weights" => "継続元のモデルの重み",
            "precision" => "行列積の精度",
            _ => name,
        };
    }
}
