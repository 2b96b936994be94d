"""Answers as `/docs` shows them."""

from typing import Any

_SOURCE = {
    "model": "sequence",
    "version": "7",
    "fallback": None,
    "arm": "champion",
    "prediction_id": "019ab3c2-8d1e-7c40-9f1b-52a6d0e4b7f3",
}

RECOMMENDATIONS: dict[str, Any] = {
    "recommendations": [
        {
            "topic_id": 12,
            "title": "Symmetric encryption",
            "probability": 0.31,
            "difficulty": "medium",
            "expected_success": 0.78,
            "reasons": [
                {
                    "cause": "last_topic",
                    "text": "it often follows Hash functions, which you studied last",
                    "without": 0.07,
                },
                {
                    "cause": "popular_lately",
                    "text": "many learners study it these days",
                    "without": 0.24,
                },
            ],
        }
    ],
    **_SOURCE,
}

DIFFICULTY: dict[str, Any] = {
    "topic_id": 12,
    "title": "Symmetric encryption",
    "difficulty": "medium",
    "success_probability": 0.78,
    "levels": {"easy": 0.91, "medium": 0.78, "hard": 0.52},
    "level_probabilities": {"easy": 0.23, "medium": 0.75, "hard": 0.02},
    "evidence": {
        "attempts": 3,
        "passes": 2,
        "proficiency": 0.64,
        "trend": 0.08,
        "seconds_since_last_attempt": 86_400.0,
    },
    **_SOURCE,
    "model": "tracing",
}

LEARNING_PATH: dict[str, Any] = {
    "learning_path": [
        {
            "topic_id": 11,
            "title": "Hash functions",
            "domain": "Cryptography",
            "status": "failed",
            "difficulty": "easy",
            "expected_success": 0.72,
            "resource": {
                "resource_id": 32,
                "kind": "video",
                "title": "Collisions by hand",
                "url": "library/hash-functions/video",
            },
            "minutes": 18,
            "minutes_from": "log",
            "why": "you failed it last time, with 40%",
        }
    ],
    "goal": "Symmetric encryption",
    "remaining": 2,
    "format": "video",
    **_SOURCE,
}

PREDICTIONS: dict[str, Any] = {
    "predictions": [[0.93, 0.81, 0.55]],
    "columns": ["easy", "medium", "hard"],
    "assumed": [],
    "model": "reference",
    "version": "7",
}
