//! As much of JSON Schema 2020-12 as `web/plan.schema.json` uses. A keyword that is not known here
//! fails the test, so that the schema cannot outgrow its judge.

use serde_json::Value;

pub struct Schema(Value);

impl Schema {
    pub fn plan() -> Self {
        let path = format!("{}/web/plan.schema.json", env!("CARGO_MANIFEST_DIR"));
        Self(serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap())
    }

    /// What is wrong with a value, if something is.
    pub fn judge(&self, value: &Value) -> Result<(), String> {
        self.check(&self.0, value, "")
    }

    fn check(&self, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
        if *schema == Value::Bool(false) {
            return Err(format!("{at} must not be there"));
        }
        for (keyword, rule) in schema.as_object().unwrap() {
            let holds = match keyword.as_str() {
                "$schema" | "$id" | "$defs" | "title" | "description" => true,
                "$ref" => {
                    let name = rule.as_str().unwrap().strip_prefix('#').unwrap();
                    self.check(self.0.pointer(name).unwrap(), value, at)?;
                    true
                }
                "type" => is(rule.as_str().unwrap(), value),
                "const" => rule == value,
                "enum" => rule.as_array().unwrap().contains(value),
                "minimum" => value.as_f64().is_none_or(|v| v >= rule.as_f64().unwrap()),
                "minItems" => value.as_array().is_none_or(|a| a.len() as u64 >= rule.as_u64().unwrap()),
                "oneOf" => {
                    let fits = |s: &&Value| self.check(s, value, at).is_ok();
                    rule.as_array().unwrap().iter().filter(fits).count() == 1
                }
                "required" => {
                    let there = |name: &Value| value.get(name.as_str().unwrap()).is_some();
                    !value.is_object() || rule.as_array().unwrap().iter().all(there)
                }
                "properties" | "additionalProperties" | "prefixItems" | "items" => {
                    self.children(keyword, schema, value, at)?;
                    true
                }
                _ => panic!("{at}: the test does not know the keyword `{keyword}`"),
            };
            if !holds {
                return Err(format!("{at}: `{keyword}` {rule} does not hold for {value}"));
            }
        }
        Ok(())
    }

    fn children(&self, keyword: &str, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
        let rule = &schema[keyword];
        let places = schema.get("prefixItems").and_then(Value::as_array).map_or(0, Vec::len);
        match (keyword, value) {
            ("properties", Value::Object(fields)) => fields
                .iter()
                .filter_map(|(name, field)| Some((name, field, rule.get(name)?)))
                .try_for_each(|(name, field, rule)| self.check(rule, field, &format!("{at}/{name}"))),
            ("additionalProperties", Value::Object(fields)) => fields
                .iter()
                .filter(|(name, _)| schema["properties"].get(name).is_none())
                .try_for_each(|(name, field)| self.check(rule, field, &format!("{at}/{name}"))),
            ("prefixItems", Value::Array(items)) => (0..)
                .zip(items.iter().zip(rule.as_array().unwrap()))
                .try_for_each(|(i, (item, rule))| self.check(rule, item, &format!("{at}/{i}"))),
            ("items", Value::Array(items)) => (0..)
                .zip(items)
                .skip(places)
                .try_for_each(|(i, item)| self.check(rule, item, &format!("{at}/{i}"))),
            _ => Ok(()),
        }
    }
}

fn is(kind: &str, value: &Value) -> bool {
    match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "number" => value.is_number(),
        "integer" => value.is_u64() || value.is_i64(),
        "null" => value.is_null(),
        _ => panic!("the test does not know the type `{kind}`"),
    }
}
